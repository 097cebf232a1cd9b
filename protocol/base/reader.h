#pragma once
// Reads the protocol's primitive types from a frame. Total on hostile input: the first violation
// makes the reader fail for good, every later read gives zero or empty, and nothing is reserved
// beyond what the bytes left can hold.
#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/endian.h"
#include "protocol/base/uuid.h"
#include "protocol/base/varint.h"

namespace klamm::protocol {

// A tagged field that this version does not know; kept and written back.
struct UnknownTag {
  uint32_t tag = 0;
  Bytes value;
  bool operator==(const UnknownTag&) const = default;
};
using UnknownTags = std::vector<UnknownTag>;

class Reader {
 public:
  // `frame` is shared by every slice that is decoded from it.
  explicit Reader(const Bytes& frame)
      : frame_(frame), at_(frame.data()), end_(frame.data() + frame.size()) {}

  bool ok() const { return ok_; }
  size_t remaining() const { return static_cast<size_t>(end_ - at_); }
  size_t position() const { return static_cast<size_t>(at_ - frame_.data()); }
  void fail() {
    ok_ = false;
    at_ = end_;
  }

  template <std::integral T>
  T fixed() {
    if (remaining() < sizeof(T)) {
      fail();
      return 0;
    }
    const T value = load<T>(at_);
    at_ += sizeof(T);
    return value;
  }
  bool boolean() { return fixed<int8_t>() != 0; }
  double float64() { return std::bit_cast<double>(fixed<uint64_t>()); }
  Uuid uuid() {
    const uint64_t high = fixed<uint64_t>();
    return {high, fixed<uint64_t>()};
  }
  uint32_t uvarint() {
    uint64_t value = 0;
    const uint8_t* next = get_uvarint64(at_, end_, value, kVarint32Max);
    if (next == nullptr) {
      fail();
      return 0;
    }
    at_ = next;
    return static_cast<uint32_t>(value);
  }

  std::string string(bool compact) {
    const auto length = string_length(compact);
    if (length < 0) {
      fail();
      return {};
    }
    return take_string(static_cast<size_t>(length));
  }
  std::optional<std::string> nullable_string(bool compact) {
    const auto length = string_length(compact);
    if (length < 0) {
      return std::nullopt;
    }
    return take_string(static_cast<size_t>(length));
  }
  Bytes bytes(bool compact) {
    const auto length = long_length(compact);
    if (length < 0) {
      fail();
      return {};
    }
    return take(static_cast<size_t>(length));
  }
  std::optional<Bytes> nullable_bytes(bool compact) {
    const auto length = long_length(compact);
    if (length < 0) {
      return std::nullopt;
    }
    return take(static_cast<size_t>(length));
  }
  // The number of elements of an array, -1 for null. Fails when the bytes left cannot hold that
  // many elements of at least `element_size_min` bytes.
  int64_t array_length(bool compact, size_t element_size_min) {
    const auto length = long_length(compact);
    const size_t size_min = element_size_min == 0 ? 1 : element_size_min;
    if (length > 0 && static_cast<uint64_t>(length) > remaining() / size_min) {
      fail();
      return 0;
    }
    return length;
  }
  Bytes take(size_t size) {
    if (size > remaining()) {
      fail();
      return {};
    }
    Bytes slice = frame_.slice(position(), size);
    at_ += size;
    return slice;
  }

 private:
  int64_t string_length(bool compact) {
    const int64_t length = compact ? static_cast<int64_t>(uvarint()) - 1 : fixed<int16_t>();
    return checked(length, INT16_MAX);
  }
  int64_t long_length(bool compact) {
    const int64_t length = compact ? static_cast<int64_t>(uvarint()) - 1 : fixed<int32_t>();
    return checked(length, INT32_MAX);
  }
  int64_t checked(int64_t length, int64_t length_max) {
    if (!ok_ || length < -1 || length > length_max) {
      fail();
      return 0;
    }
    return length;
  }
  std::string take_string(size_t size) {
    if (size > remaining()) {
      fail();
      return {};
    }
    std::string text(reinterpret_cast<const char*>(at_), size);
    at_ += size;
    return text;
  }

  Bytes frame_;
  const uint8_t* at_;
  const uint8_t* end_;
  bool ok_ = true;
};

inline std::optional<Payload> to_payload(std::optional<Bytes> bytes) {
  return bytes ? std::optional<Payload>(std::move(*bytes)) : std::nullopt;
}

}  // namespace klamm::protocol
