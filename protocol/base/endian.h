#pragma once
// Big-endian numbers at any address.
#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

namespace klamm::protocol {

template <std::integral T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return std::byteswap(value);
}

template <std::integral T>
void store(uint8_t* at, T value) {
  value = std::byteswap(value);
  std::memcpy(at, &value, sizeof value);
}

}  // namespace klamm::protocol
