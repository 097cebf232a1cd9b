#pragma once
// Base-128 integers, least significant group first; signed ones are zigzag coded. A 32-bit value
// takes at most 5 bytes, a 64-bit one at most 10; longer forms are malformed.
#include <cstdint>

namespace klamm::protocol {

inline constexpr int kVarint32Max = 5;
inline constexpr int kVarint64Max = 10;

// Writes to `out` (room for the maximum) and returns the end.
inline uint8_t* put_uvarint(uint8_t* out, uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<uint8_t>(value) | 0x80;
    value >>= 7;
  }
  *out++ = static_cast<uint8_t>(value);
  return out;
}

// Returns the byte after the value, or null when the value is cut off or too long.
inline const uint8_t* get_uvarint64(const uint8_t* at, const uint8_t* end, uint64_t& value,
                                    int bytes_max) {
  value = 0;
  for (int i = 0; i < bytes_max && at < end; ++i) {
    const uint8_t byte = *at++;
    value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) {
      return at;
    }
  }
  return nullptr;
}

inline uint64_t zigzag(int64_t value) {
  return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63);
}
inline int64_t unzigzag(uint64_t value) {
  return static_cast<int64_t>(value >> 1 ^ (0 - (value & 1)));
}

inline const uint8_t* get_varint(const uint8_t* at, const uint8_t* end, int32_t& value) {
  uint64_t raw = 0;
  at = get_uvarint64(at, end, raw, kVarint32Max);
  value = static_cast<int32_t>(unzigzag(static_cast<uint32_t>(raw)));
  return at;
}

inline const uint8_t* get_varlong(const uint8_t* at, const uint8_t* end, int64_t& value) {
  uint64_t raw = 0;
  at = get_uvarint64(at, end, raw, kVarint64Max);
  value = unzigzag(raw);
  return at;
}

inline int uvarint_size(uint64_t value) {
  int size = 1;
  for (; value >= 0x80; value >>= 7) {
    ++size;
  }
  return size;
}
inline int varint_size(int64_t value) { return uvarint_size(zigzag(value)); }

}  // namespace klamm::protocol
