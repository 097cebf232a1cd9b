#include "protocol/records/compression.h"

#include <catch2/catch.hpp>

using namespace klamm;
using namespace klamm::protocol;

namespace {

Bytes sample(size_t size) {
  Bytes bytes = Bytes::allocate(size);
  for (size_t i = 0; i < size; ++i) {
    bytes.mutable_data()[i] = static_cast<uint8_t>(i % 251 * (i / 4096 + 1));
  }
  return bytes;
}

const auto kCodecs = {Compression::kGzip, Compression::kSnappy, Compression::kLz4,
                      Compression::kZstd};

}  // namespace

TEST_CASE("every codec gives back what it was given") {
  for (const Compression codec : kCodecs) {
    for (const size_t size : {size_t{0}, size_t{1}, size_t{32768}, size_t{300'000}}) {
      const Bytes plain = sample(size);
      const Bytes packed = compress(codec, plain.span(), INT32_MIN);
      const auto back = decompress(codec, packed.span(), 1 << 20);
      REQUIRE(back.has_value());
      CHECK(*back == plain);
    }
  }
}

TEST_CASE("output over the cap is refused") {
  for (const Compression codec : kCodecs) {
    const Bytes packed = compress(codec, sample(100'000).span(), INT32_MIN);
    CHECK(decompress(codec, packed.span(), 100'000).has_value());
    CHECK(decompress(codec, packed.span(), 99'999).error().code == ErrorCode::kRecordListTooLarge);
  }
}

TEST_CASE("a stream that is cut off is refused at every length") {
  for (const Compression codec : kCodecs) {
    const Bytes packed = compress(codec, sample(1000).span(), INT32_MIN);
    // The snappy framing has no end mark, so a cut between its blocks goes unseen; its header alone
    // is such a cut.
    const size_t from = codec == Compression::kSnappy ? 17 : 0;
    for (size_t size = from; size < packed.size(); ++size) {
      CHECK_FALSE(decompress(codec, packed.span().first(size), 1 << 20).has_value());
    }
  }
}

TEST_CASE("a bare snappy block is read too") {
  const Bytes framed = compress(Compression::kSnappy, sample(1000).span(), INT32_MIN);
  const auto back = decompress(Compression::kSnappy, framed.span().subspan(20), 1 << 20);
  REQUIRE(back.has_value());
  CHECK(*back == sample(1000));
}
