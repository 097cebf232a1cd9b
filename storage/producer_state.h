#pragma once
// What a partition remembers of its producers: the last batches of each, so that a repeated batch
// is recognised and a gap refused (KIP-98). Kept over restarts by snapshots next to the segments.
#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>

#include "protocol/records/batch.h"
#include "storage/env/disk.h"

namespace klamm::storage {

struct ProducerBatch {
  int32_t last_sequence = -1;
  int64_t last_offset = -1;
  int32_t offset_delta = 0;
  int64_t timestamp = -1;

  int32_t base_sequence() const {
    const int64_t first = static_cast<int64_t>(last_sequence) - offset_delta;
    return static_cast<int32_t>(first < 0 ? first + (int64_t{1} << 31) : first);
  }
  int64_t base_offset() const { return last_offset - offset_delta; }
};

struct ProducerEntry {
  int16_t epoch = -1;
  int32_t coordinator_epoch = -1;
  int64_t last_timestamp = -1;
  int64_t txn_first_offset = -1;      // -1: no open transaction
  std::deque<ProducerBatch> batches;  // oldest first, at most kBatchesMax
};

class ProducerState {
 public:
  // As many batches as an idempotent producer may have in flight.
  static constexpr size_t kBatchesMax = 5;

  // What to do with a client's batch.
  struct Verdict {
    bool duplicate = false;
    ProducerBatch original;  // of the duplicate
  };
  // INVALID_PRODUCER_EPOCH for an old epoch, OUT_OF_ORDER_SEQUENCE_NUMBER for a gap,
  // UNKNOWN_PRODUCER_ID never (an unknown producer may start anywhere, as in Kafka since 2.4).
  Result<Verdict> check(const protocol::BatchView& batch) const;
  // Takes over a batch that has been appended. Batches without a producer id change nothing.
  void update(const protocol::BatchView& batch);

  // Forgets producers that wrote nothing since `before_ms` and have no open transaction.
  void expire(int64_t before_ms);
  // Offset up to which no transaction is open; INT64_MAX when none is.
  int64_t first_unstable_offset() const;
  size_t size() const { return producers_.size(); }
  const std::unordered_map<int64_t, ProducerEntry>& producers() const { return producers_; }
  void clear() { producers_.clear(); }

  // The snapshot's bytes (FORMAT.md, "producer snapshot").
  std::string to_snapshot() const;
  // CORRUPT_MESSAGE when the checksum or the structure is wrong.
  static Result<ProducerState> from_snapshot(std::string_view content);

 private:
  std::unordered_map<int64_t, ProducerEntry> producers_;
};

}  // namespace klamm::storage
