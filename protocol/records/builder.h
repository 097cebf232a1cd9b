#pragma once
// Builds one record batch of format version 2.
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/writer.h"
#include "protocol/records/batch.h"

namespace klamm::protocol {

struct BatchOptions {
  int64_t base_offset = 0;
  int32_t leader_epoch = -1;
  Compression compression = Compression::kNone;
  int compression_level = INT32_MIN;  // INT32_MIN: the codec's default
  TimestampType timestamp_type = TimestampType::kCreateTime;
  int64_t producer_id = kNoProducerId;
  int16_t producer_epoch = -1;
  int32_t base_sequence = -1;
  bool transactional = false;
  bool control = false;
  bool delete_horizon = false;  // the base timestamp is one
};

struct Header {
  std::string_view key;
  std::optional<std::span<const uint8_t>> value;
};

class BatchBuilder {
 public:
  explicit BatchBuilder(BatchOptions options) : options_(options) {}

  // Appends a record at the next offset.
  void add(int64_t timestamp, std::optional<std::span<const uint8_t>> key,
           std::optional<std::span<const uint8_t>> value, std::span<const Header> headers = {});
  int32_t count() const { return count_; }
  // The finished batch. With no record it is the empty batch that compaction may leave.
  Bytes build();

 private:
  BatchOptions options_;
  Writer records_;
  int32_t count_ = 0;
  int64_t base_timestamp_ = kNoTimestamp;
  int64_t max_timestamp_ = kNoTimestamp;
};

// The batch with only some of its records, at their offsets, as compaction leaves it: base offset,
// last offset, producer and epoch stay. With a delete horizon the tombstones among them may go at
// that time (KIP-534). `kept` may be empty.
Bytes rebuild_batch(const BatchView& batch, std::span<const RecordView> kept,
                    std::optional<int64_t> delete_horizon_ms);

// A batch with the given header fields around a body that is compressed already.
Bytes assemble_batch(const BatchOptions& options, int32_t last_offset_delta, int32_t count,
                     int64_t base_timestamp, int64_t max_timestamp, std::span<const uint8_t> body);

}  // namespace klamm::protocol
