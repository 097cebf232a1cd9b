#pragma once
// The record batch of format version 2 (the layout stands in storage/FORMAT.md): a view on its
// bytes, patches of the fields that a broker sets, and an iterator over its uncompressed records.
#include <cstdint>
#include <optional>
#include <span>

#include "protocol/base/endian.h"
#include "protocol/base/result.h"

namespace klamm::protocol {

enum class Compression : uint8_t { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };
enum class TimestampType : uint8_t { kCreateTime = 0, kLogAppendTime = 1 };

inline constexpr size_t kBatchHeaderSize = 61;
inline constexpr size_t kBatchPrefixSize =
    12;  // base offset and length: what is needed to find the next batch
inline constexpr int8_t kMagic = 2;
inline constexpr int64_t kNoProducerId = -1;
inline constexpr int64_t kNoTimestamp = -1;

// Does not own the bytes. Every accessor is valid once parse() has returned the view.
class BatchView {
 public:
  // The batch at the front of `bytes`. CORRUPT_MESSAGE when the length is impossible, the batch is
  // cut off or its magic was never one, INVALID_RECORD when it is of format 0 or 1.
  static Result<BatchView> parse(std::span<const uint8_t> bytes);

  size_t size() const { return kBatchPrefixSize + static_cast<size_t>(load<int32_t>(at_ + 8)); }
  std::span<const uint8_t> bytes() const { return {at_, size()}; }
  int64_t base_offset() const { return load<int64_t>(at_); }
  int32_t leader_epoch() const { return load<int32_t>(at_ + 12); }
  uint32_t crc() const { return load<uint32_t>(at_ + 17); }
  int16_t attributes() const { return load<int16_t>(at_ + 21); }
  int32_t last_offset_delta() const { return load<int32_t>(at_ + 23); }
  int64_t base_timestamp() const { return load<int64_t>(at_ + 27); }
  int64_t max_timestamp() const { return load<int64_t>(at_ + 35); }
  int64_t producer_id() const { return load<int64_t>(at_ + 43); }
  int16_t producer_epoch() const { return load<int16_t>(at_ + 51); }
  int32_t base_sequence() const { return load<int32_t>(at_ + 53); }
  int32_t count() const { return load<int32_t>(at_ + 57); }
  std::span<const uint8_t> body() const { return bytes().subspan(kBatchHeaderSize); }

  int64_t last_offset() const { return base_offset() + last_offset_delta(); }
  int64_t next_offset() const { return last_offset() + 1; }
  // The sequence of the last record; sequences wrap from 2^31 - 1 to 0.
  int32_t last_sequence() const;
  // Values over 4 are no codec; validation refuses them.
  Compression compression() const { return static_cast<Compression>(attributes() & 7); }
  TimestampType timestamp_type() const { return static_cast<TimestampType>(attributes() >> 3 & 1); }
  bool is_transactional() const { return (attributes() & 0x10) != 0; }
  bool is_control() const { return (attributes() & 0x20) != 0; }
  // Compaction has seen tombstones in it: they may go once base_timestamp() is past (KIP-534).
  bool has_delete_horizon() const { return (attributes() & 0x40) != 0; }
  bool has_producer_id() const { return producer_id() != kNoProducerId; }
  bool crc_matches() const;

 private:
  explicit BatchView(const uint8_t* at) : at_(at) {}
  const uint8_t* at_;
};

// Sets the fields that lie outside the CRC.
void patch_offset_and_epoch(uint8_t* batch, int64_t base_offset, int32_t leader_epoch);
// Sets the timestamp type and the largest timestamp, and the CRC anew if that changed anything.
void patch_timestamp(uint8_t* batch, size_t size, TimestampType type, int64_t max_timestamp);

// One record of an uncompressed batch body. Spans point into the body.
struct RecordView {
  int64_t timestamp_delta = 0;
  int32_t offset_delta = 0;
  std::optional<std::span<const uint8_t>> key;
  std::optional<std::span<const uint8_t>> value;
  std::span<const uint8_t> headers;  // from the header count on
};

class RecordIterator {
 public:
  RecordIterator(std::span<const uint8_t> body, int32_t count)
      : at_(body.data()), end_(body.data() + body.size()), left_(count) {}

  // The next record; nullopt after the last. INVALID_RECORD when a length does not fit, or bytes
  // are left over.
  Result<std::optional<RecordView>> next();

 private:
  const uint8_t* at_;
  const uint8_t* end_;
  int32_t left_;
};

}  // namespace klamm::protocol
