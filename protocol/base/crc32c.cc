#include "protocol/base/crc32c.h"

#include <array>
#include <cstring>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace klamm::protocol {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // reflected

using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) {
      crc = crc >> 1 ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
    tables[0][i] = crc;
  }
  for (uint32_t i = 0; i < 256; ++i) {
    for (size_t t = 1; t < 8; ++t) {
      tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 255];
    }
  }
  return tables;
}
constexpr Tables kTables = make_tables();

uint32_t software(const uint8_t* at, const uint8_t* end, uint32_t crc) {
  for (; end - at >= 8; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, at, 8);
    word ^= crc;
    crc = 0;
    for (size_t i = 0; i < 8; ++i) {
      crc ^= kTables[7 - i][word >> (8 * i) & 255];
    }
  }
  for (; at < end; ++at) {
    crc = crc >> 8 ^ kTables[0][(crc ^ *at) & 255];
  }
  return crc;
}

#if defined(__x86_64__)
// The instruction has a latency of three cycles and a throughput of one, so three independent lanes
// run side by side. A lane's CRC is carried over the lanes behind it by tables that append kLane
// zero bytes.
constexpr size_t kLane = 1024;

struct ZeroTables {
  std::array<std::array<uint32_t, 256>, 4> table{};
  ZeroTables() {
    std::array<uint32_t, 32> basis{};
    for (size_t bit = 0; bit < 32; ++bit) {
      uint32_t crc = 1u << bit;
      for (size_t i = 0; i < kLane; ++i) {
        crc = crc >> 8 ^ kTables[0][crc & 255];
      }
      basis[bit] = crc;
    }
    for (size_t byte = 0; byte < 4; ++byte) {
      for (uint32_t value = 0; value < 256; ++value) {
        for (size_t bit = 0; bit < 8; ++bit) {
          if ((value >> bit & 1) != 0) {
            table[byte][value] ^= basis[8 * byte + bit];
          }
        }
      }
    }
  }
  uint32_t shift(uint32_t crc) const {
    return table[0][crc & 255] ^ table[1][crc >> 8 & 255] ^ table[2][crc >> 16 & 255] ^
           table[3][crc >> 24];
  }
};

uint64_t word_at(const uint8_t* at) {
  uint64_t word = 0;
  std::memcpy(&word, at, 8);
  return word;
}

__attribute__((target("sse4.2"))) uint32_t hardware(const uint8_t* at, const uint8_t* end,
                                                    uint32_t crc) {
  static const ZeroTables zeros;
  uint64_t a = crc;
  for (; static_cast<size_t>(end - at) >= 3 * kLane; at += 3 * kLane) {
    uint64_t b = 0;
    uint64_t c = 0;
    for (size_t i = 0; i < kLane; i += 8) {
      a = _mm_crc32_u64(a, word_at(at + i));
      b = _mm_crc32_u64(b, word_at(at + kLane + i));
      c = _mm_crc32_u64(c, word_at(at + 2 * kLane + i));
    }
    a = zeros.shift(static_cast<uint32_t>(a)) ^ b;
    a = zeros.shift(static_cast<uint32_t>(a)) ^ c;
  }
  for (; end - at >= 8; at += 8) {
    a = _mm_crc32_u64(a, word_at(at));
  }
  auto tail = static_cast<uint32_t>(a);
  for (; at < end; ++at) {
    tail = _mm_crc32_u8(tail, *at);
  }
  return tail;
}
#endif

}  // namespace

uint32_t crc32c_software(std::span<const uint8_t> bytes, uint32_t before) {
  return ~software(bytes.data(), bytes.data() + bytes.size(), ~before);
}

uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t before) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) {
    return ~hardware(bytes.data(), bytes.data() + bytes.size(), ~before);
  }
#endif
  return crc32c_software(bytes, before);
}

}  // namespace klamm::protocol
