#pragma once
// Writes the protocol's primitive types. The result is one head buffer plus spliced payload pieces,
// so that records travel from a shared slice or a file to the socket without a copy here.
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/check.h"
#include "protocol/base/endian.h"
#include "protocol/base/reader.h"
#include "protocol/base/uuid.h"
#include "protocol/base/varint.h"

namespace klamm::protocol {

// A payload piece that belongs between the bytes [0, at) and [at, ...) of the head buffer.
struct Splice {
  size_t at = 0;
  Piece piece;
};

class Writer {
 public:
  Writer() = default;
  Writer(Writer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)),
        splices_(std::move(other.splices_)),
        spliced_(std::exchange(other.spliced_, 0)),
        refused_(other.refused_) {}
  Writer& operator=(Writer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    std::swap(splices_, other.splices_);
    std::swap(spliced_, other.spliced_);
    std::swap(refused_, other.refused_);
    return *this;
  }
  Writer(const Writer&) = delete;
  ~Writer() { std::free(data_); }

  // Head bytes plus spliced bytes.
  size_t size() const { return size_ + spliced_; }
  std::span<const uint8_t> head() const { return {data_, size_}; }
  uint8_t* mutable_head() { return data_; }
  const std::vector<Splice>& splices() const { return splices_; }
  // The whole content as one buffer. Only for content without file ranges.
  Bytes flatten() const {
    Bytes out = Bytes::allocate(size());
    uint8_t* to = out.mutable_data();
    size_t from = 0;
    for (const Splice& splice : splices_) {
      CHECK_INVARIANT(splice.piece.source == nullptr);
      to = std::copy(data_ + from, data_ + splice.at, to);
      to = std::copy_n(splice.piece.bytes.data(), splice.piece.size, to);
      from = splice.at;
    }
    std::copy(data_ + from, data_ + size_, to);
    return out;
  }

  // Notes that a field is set which the version has no place for and which may not be left out
  // (`ignorable` in the schema). What was written must not be sent then.
  void refuse(const char* field) { refused_ = field; }
  // The field that was refused, or nullptr.
  const char* refused() const { return refused_; }

  template <std::integral T>
  void fixed(T value) {
    store<T>(grow(sizeof(T)), value);
  }
  void boolean(bool value) { fixed<int8_t>(value ? 1 : 0); }
  void float64(double value) { fixed(std::bit_cast<uint64_t>(value)); }
  void uuid(const Uuid& id) {
    fixed(id.high);
    fixed(id.low);
  }
  void uvarint(uint64_t value) {
    reserve(kVarint64Max);
    size_ = static_cast<size_t>(put_uvarint(data_ + size_, value) - data_);
  }
  void varint(int64_t value) { uvarint(zigzag(value)); }
  void raw(std::span<const uint8_t> bytes) {
    if (!bytes.empty()) {
      std::memcpy(grow(bytes.size()), bytes.data(), bytes.size());
    }
  }

  void string(std::string_view text, bool compact) {
    if (compact) {
      uvarint(text.size() + 1);
    } else {
      fixed(static_cast<int16_t>(text.size()));
    }
    raw({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  void null_string(bool compact) { compact ? uvarint(0) : fixed<int16_t>(-1); }
  void length(size_t size, bool compact) {
    compact ? uvarint(size + 1) : fixed(static_cast<int32_t>(size));
  }
  void null_length(bool compact) { compact ? uvarint(0) : fixed<int32_t>(-1); }
  void bytes(const Bytes& value, bool compact) {
    length(value.size(), compact);
    raw(value.span());
  }
  void payload(const Payload& value, bool compact) {
    length(value.size(), compact);
    for (const Piece& piece : value.pieces()) {
      spliced_ += piece.size;
      splices_.push_back({size_, piece});
    }
  }
  // A tagged field: tag, size, value. The value has no payload.
  void tagged(uint32_t tag, const Writer& value) {
    CHECK_INVARIANT(value.splices_.empty());
    refused_ = value.refused_ == nullptr ? refused_ : value.refused_;
    uvarint(tag);
    uvarint(value.size_);
    raw(value.head());
  }
  // Writes the unknown tags below `below` from index `from` on; returns the index of the first one
  // left.
  size_t unknown_tags(const UnknownTags& tags, size_t from, uint32_t below = UINT32_MAX) {
    for (; from < tags.size() && tags[from].tag < below; ++from) {
      uvarint(tags[from].tag);
      uvarint(tags[from].value.size());
      raw(tags[from].value.span());
    }
    return from;
  }

 private:
  void reserve(size_t more) {
    if (capacity_ - size_ < more) {
      capacity_ = std::max<size_t>(capacity_ * 2, size_ + more + 128);
      data_ = static_cast<uint8_t*>(std::realloc(data_, capacity_));
      CHECK_INVARIANT(data_ != nullptr);
    }
  }
  uint8_t* grow(size_t more) {
    reserve(more);
    uint8_t* at = data_ + size_;
    size_ += more;
    return at;
  }

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
  std::vector<Splice> splices_;
  size_t spliced_ = 0;
  const char* refused_ = nullptr;
};

}  // namespace klamm::protocol
