#include "protocol/base/uuid.h"

#include <catch2/catch.hpp>

using klamm::protocol::Uuid;

TEST_CASE("the metadata topic's id has Kafka's text form") {
  CHECK(klamm::protocol::kMetadataTopicId.to_string() == "AAAAAAAAAAAAAAAAAAAAAQ");
}

TEST_CASE("a uuid survives its text form") {
  const Uuid id{0x0123456789ABCDEF, 0xFEDCBA9876543210};
  CHECK(id.to_string().size() == 22);
  CHECK(Uuid::parse(id.to_string()) == id);
  CHECK(id.to_hex() == "0123456789abcdeffedcba9876543210");
}

TEST_CASE("text that is no uuid is refused") {
  CHECK_FALSE(Uuid::parse("AAAAAAAAAAAAAAAAAAAAA").has_value());
  CHECK_FALSE(Uuid::parse("AAAAAAAAAAAAAAAAAAAAA*").has_value());
}

TEST_CASE("a random id is version 4 and does not start with a dash") {
  const auto id = Uuid::from_random(0x1234567812345678, 0);
  REQUIRE(id.has_value());
  CHECK((id->high >> 12 & 15) == 4);
  CHECK(id->low >> 62 == 2);
  CHECK_FALSE(Uuid::from_random(0xF800000000000000, 0).has_value());
}
