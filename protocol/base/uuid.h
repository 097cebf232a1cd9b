#pragma once
// A 128-bit id as Kafka writes it: 16 bytes on the wire, 22 characters of base64url without padding
// in text.
#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace klamm::protocol {

struct Uuid {
  uint64_t high = 0;
  uint64_t low = 0;

  auto operator<=>(const Uuid&) const = default;
  bool is_zero() const { return high == 0 && low == 0; }
  std::string to_string() const;
  // 32 hexadecimal digits, as in the names of directories that wait for deletion.
  std::string to_hex() const;
  // nullopt unless the text is exactly 22 characters of the alphabet.
  static std::optional<Uuid> parse(std::string_view text);
  // A version 4 id from 128 random bits; never one of the reserved ids, never starting with a dash
  // in text.
  static std::optional<Uuid> from_random(uint64_t high, uint64_t low);
};

// The topic id of __cluster_metadata.
inline constexpr Uuid kMetadataTopicId{0, 1};

}  // namespace klamm::protocol

template <>
struct std::hash<klamm::protocol::Uuid> {
  size_t operator()(const klamm::protocol::Uuid& id) const noexcept {
    return id.high * 0x9E3779B97F4A7C15ull ^ id.low;
  }
};
