#include "protocol/base/crc32c.h"

#include <catch2/catch.hpp>
#include <numeric>
#include <vector>

using namespace klamm::protocol;

TEST_CASE("CRC-32C has the values of RFC 3720, B.4") {
  std::vector<uint8_t> bytes(32, 0);
  CHECK(crc32c(bytes) == 0x8A9136AA);
  CHECK(crc32c_software(bytes) == 0x8A9136AA);
  bytes.assign(32, 0xFF);
  CHECK(crc32c(bytes) == 0x62A8AB43);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  CHECK(crc32c(bytes) == 0x46DD794E);
  CHECK(crc32c_software(bytes) == 0x46DD794E);
}

TEST_CASE(
    "the instruction and the tables agree at every length and alignment, whole and continued") {
  std::vector<uint8_t> bytes(10'000);
  uint32_t state = 1;
  for (auto& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<uint8_t>(state >> 24);
  }
  const std::span<const uint8_t> all(bytes);
  for (size_t from = 0; from < 9; ++from) {
    for (size_t size = 0; size < all.size() - from; size += 1 + size / 7) {
      const auto part = all.subspan(from, size);
      CHECK(crc32c(part) == crc32c_software(part));
      CHECK(crc32c(part.subspan(size / 3), crc32c(part.first(size / 3))) == crc32c(part));
    }
  }
}
