#include "protocol/base/reader.h"

#include <catch2/catch.hpp>

#include "protocol/all_messages.h"
#include "protocol/base/writer.h"
#include "protocol/generated/describe_groups_request.h"
#include "protocol/generated/fetch_request.h"
#include "protocol/generated/metadata_response.h"

using namespace klamm::protocol;

TEST_CASE(
    "an array that claims more elements than the bytes left can hold is refused before memory is "
    "taken") {
  Writer out;
  out.fixed<int32_t>(1'000'000'000);
  out.fixed<int64_t>(0);
  Reader in(out.flatten());
  CHECK(in.array_length(false, 1) == 0);
  CHECK_FALSE(in.ok());
}

TEST_CASE("a failed reader stays failed and gives zeros") {
  Reader in(Bytes::copy_of("abc"));
  CHECK(in.fixed<int32_t>() == 0);
  CHECK_FALSE(in.ok());
  CHECK(in.fixed<int8_t>() == 0);
  CHECK(in.string(false).empty());
}

TEST_CASE("a tagged field that is not known is kept and written back") {
  FetchRequest request;
  request.unknown_tags.push_back({77, Bytes::copy_of("later")});
  Writer out;
  request.encode(out, 17);
  Reader in(out.flatten());
  FetchRequest back;
  back.decode(in, 17);
  REQUIRE(in.ok());
  CHECK(back == request);
}

TEST_CASE("every message is total on truncated and scrambled input") {
  uint64_t state = 7;
  const auto random = [&] {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<uint8_t>(state >> 56);
  };
  for (const AnyMessage& message : all_messages()) {
    for (int16_t version = message.version_min; version <= message.version_max; ++version) {
      for (int round = 0; round < 40; ++round) {
        Bytes input = Bytes::allocate(random());
        for (size_t i = 0; i < input.size(); ++i) {
          input.mutable_data()[i] = round % 2 == 0 ? random() : random() % 3;
        }
        Reader in(input);
        Writer out;
        const bool decoded = message.recode(in, version, out);
        CHECK(decoded == in.ok());
      }
    }
  }
}

TEST_CASE("what a version cannot say is refused, unless it may be left out") {
  DescribeGroupsRequest request;
  request.groups = {"g"};
  Writer plain;
  request.encode(plain, 0);
  CHECK(plain.refused() == nullptr);
  request.include_authorized_operations = true;  // since version 3
  Writer old;
  request.encode(old, 2);
  REQUIRE(old.refused() != nullptr);
  CHECK(std::string(old.refused()) == "DescribeGroupsRequest.IncludeAuthorizedOperations");
  Writer recent;
  request.encode(recent, 3);
  CHECK(recent.refused() == nullptr);
  MetadataResponse response;
  response.throttle_time_ms = 5;  // since version 3, and ignorable
  Writer ignored;
  response.encode(ignored, 2);
  CHECK(ignored.refused() == nullptr);
}
