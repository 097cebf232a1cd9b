#include "protocol/base/varint.h"

#include <catch2/catch.hpp>

using namespace klamm::protocol;

TEST_CASE("varints survive a round trip at the edges") {
  for (const int64_t value : {int64_t{0}, int64_t{-1}, int64_t{63}, int64_t{64}, int64_t{-65},
                              int64_t{INT32_MAX}, int64_t{INT32_MIN}, INT64_MAX, INT64_MIN}) {
    uint8_t buffer[kVarint64Max];
    const uint8_t* end = put_uvarint(buffer, zigzag(value));
    CHECK(end - buffer == varint_size(value));
    int64_t back = 0;
    CHECK(get_varlong(buffer, end, back) == end);
    CHECK(back == value);
  }
}

TEST_CASE("a varint that is cut off or too long is malformed") {
  const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x01};
  int32_t value = 0;
  CHECK(get_varint(endless, endless + 6, value) == nullptr);
  CHECK(get_varint(endless, endless + 2, value) == nullptr);
}
