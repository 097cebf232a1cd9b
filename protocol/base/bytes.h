#pragma once
// Slices of shared buffers, and payloads that are made of memory slices and file ranges.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/result.h"

namespace klamm::protocol {

// A slice of a shared buffer; copying it shares the buffer. Whoever decoded a frame is its only
// writer and may patch the slice (base offset, leader epoch) before handing it on.
class Bytes {
 public:
  Bytes() = default;
  Bytes(std::shared_ptr<void> owner, uint8_t* data, size_t size)
      : owner_(std::move(owner)), data_(data), size_(size) {}

  static Bytes copy_of(std::span<const uint8_t> from) {
    Bytes bytes = allocate(from.size());
    if (!from.empty()) {
      std::memcpy(bytes.data_, from.data(), from.size());
    }
    return bytes;
  }
  static Bytes copy_of(std::string_view text) {
    return copy_of({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  // A buffer of its own whose content is undefined; the kernel gives pages only for what is
  // touched.
  static Bytes allocate(size_t size) {
    std::shared_ptr<uint8_t[]> owner = std::make_shared_for_overwrite<uint8_t[]>(size);
    uint8_t* data = owner.get();
    return {std::move(owner), data, size};
  }

  const uint8_t* data() const { return data_; }
  uint8_t* mutable_data() { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<const uint8_t> span() const { return {data_, size_}; }
  std::string_view view() const { return {reinterpret_cast<const char*>(data_), size_}; }
  Bytes slice(size_t from, size_t size) const { return {owner_, data_ + from, size}; }
  const std::shared_ptr<void>& owner() const { return owner_; }

  bool operator==(const Bytes& other) const {
    return size_ == other.size_ && std::equal(data_, data_ + size_, other.data_);
  }

 private:
  std::shared_ptr<void> owner_;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// Something that bytes can be read from by position: a segment file.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Reads up to into.size() bytes at `position`; fewer only at the end of the source.
  virtual Result<size_t> read_at(uint64_t position, std::span<uint8_t> into) const = 0;
  // The same where it costs no wait for a medium; nullopt where it does.
  virtual Result<std::optional<size_t>> read_cached(uint64_t position,
                                                    std::span<uint8_t> into) const {
    TRY(const size_t got, read_at(position, into));
    return got;
  }
  // The descriptor of the file that holds these bytes, for system calls that send them from where
  // they lie, when all of them are in the page cache; nullopt when they are not, or the source
  // cannot tell. Whoever cuts the source meanwhile has less sent.
  virtual std::optional<int> cached_file(uint64_t /*position*/, size_t /*size*/) const {
    return std::nullopt;
  }
  // Waits for the medium until the range is in the page cache; false where the source has none. It
  // may be gone again when it is asked for.
  virtual Result<bool> bring_to_cache(uint64_t /*position*/, size_t /*size*/) const {
    return false;
  }
};

// One part of a payload: memory when source is null, else `size` bytes of the source from
// `position` on.
struct Piece {
  Bytes bytes;
  std::shared_ptr<const ByteSource> source;
  uint64_t position = 0;
  size_t size = 0;
};

// The content of a `records` field. Decoded ones are one memory slice; fetched ones are mostly file
// ranges, read only when the answer leaves, so that an answer in a queue costs no memory.
class Payload {
 public:
  Payload() = default;
  Payload(Bytes bytes) {  // NOLINT: a slice is a payload
    if (!bytes.empty()) {
      const size_t size = bytes.size();
      add({std::move(bytes), nullptr, 0, size});
    }
  }
  void add(Piece piece) {
    size_ += piece.size;
    pieces_.push_back(std::move(piece));
  }
  size_t size() const { return size_; }
  const std::vector<Piece>& pieces() const { return pieces_; }
  // The content of a payload that was decoded from a frame.
  Bytes bytes() const { return pieces_.empty() ? Bytes() : pieces_.front().bytes; }
  bool operator==(const Payload& other) const { return bytes() == other.bytes(); }

 private:
  std::vector<Piece> pieces_;
  size_t size_ = 0;
};

}  // namespace klamm::protocol
