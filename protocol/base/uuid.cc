#include "protocol/base/uuid.h"

namespace klamm::protocol {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::array<uint8_t, 16> to_bytes(const Uuid& id) {
  std::array<uint8_t, 16> bytes{};
  for (int i = 0; i < 8; ++i) {
    bytes[i] = static_cast<uint8_t>(id.high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<uint8_t>(id.low >> (56 - 8 * i));
  }
  return bytes;
}

}  // namespace

std::string Uuid::to_string() const {
  const auto bytes = to_bytes(*this);
  std::string text;
  for (size_t i = 0; i < 16; i += 3) {
    uint32_t group = bytes[i] << 16;
    if (i + 1 < 16) {
      group |= bytes[i + 1] << 8 | bytes[i + 2];
    }
    const int digits = i + 1 < 16 ? 4 : 2;
    for (int d = 0; d < digits; ++d) {
      text += kAlphabet[group >> (18 - 6 * d) & 63];
    }
  }
  return text;
}

std::string Uuid::to_hex() const {
  std::string text;
  for (const uint8_t byte : to_bytes(*this)) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::optional<Uuid> Uuid::parse(std::string_view text) {
  if (text.size() != 22) {
    return std::nullopt;
  }
  Uuid id;
  int bits = 0;
  for (const char c : text) {
    const size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) {
      return std::nullopt;
    }
    const int take = bits + 6 <= 128 ? 6 : 128 - bits;  // the last digit carries two bits
    const uint64_t part = value >> (6 - take);
    id.high = id.high << take | id.low >> (64 - take);
    id.low = id.low << take | part;
    bits += take;
  }
  return id;
}

std::optional<Uuid> Uuid::from_random(uint64_t high, uint64_t low) {
  Uuid id{(high & ~0xF000ull) | 0x4000ull, (low & 0x3FFFFFFFFFFFFFFFull) | 0x8000000000000000ull};
  if (id.to_string().front() == '-') {
    return std::nullopt;
  }
  return id;
}

}  // namespace klamm::protocol
