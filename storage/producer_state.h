#pragma once
// What a partition remembers of its producers: the last batches of each, so that a repeated batch
// is recognised and a gap refused (KIP-98). Kept over restarts by snapshots next to the segments.
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

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
  int64_t txn_first_offset = -1;       // -1: no open transaction
  std::vector<ProducerBatch> batches;  // oldest first, at most kBatchesMax
};

// What a control record of a transaction says (KIP-98): key {version, type}, value {version,
// coordinator epoch}.
struct EndMarker {
  bool aborts;
  int32_t coordinator_epoch;
};
// nullopt when the batch holds no such record.
std::optional<EndMarker> read_end_marker(const protocol::BatchView& batch);

// A transaction that a marker has just ended.
struct CompletedTxn {
  int64_t producer_id;
  int64_t first_offset;
  int64_t last_offset;  // of the marker
  bool aborted;
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
  // UNKNOWN_PRODUCER_ID never (an unknown producer may start anywhere, as in Kafka since 2.4);
  // TRANSACTION_COORDINATOR_FENCED for the marker of a coordinator that is not the last one seen.
  Result<Verdict> check(const protocol::BatchView& batch) const;
  // Takes over a batch that has been appended; tells which transaction it ends. Batches without a
  // producer id change nothing.
  std::optional<CompletedTxn> update(const protocol::BatchView& batch);

  // Forgets producers that wrote nothing since `before_ms` and have no open transaction.
  void expire(int64_t before_ms);
  // Offset up to which every transaction has ended by a marker below the high watermark; INT64_MAX
  // when none is open. What is below the watermark once stays so.
  int64_t first_unstable_offset(int64_t high_watermark);
  // What is stable behind the marker that ended a transaction (KIP-98).
  int64_t last_stable_offset(const CompletedTxn& completed) const;
  size_t size() const { return producers_.size(); }
  const std::unordered_map<int64_t, ProducerEntry>& producers() const { return producers_; }
  void clear() { *this = {}; }

  // The snapshot's bytes (FORMAT.md, "producer snapshot").
  std::string to_snapshot() const;
  // CORRUPT_MESSAGE when the checksum or the structure is wrong.
  static Result<ProducerState> from_snapshot(std::string_view content);

 private:
  std::optional<CompletedTxn> take_marker(const protocol::BatchView& batch, ProducerEntry& entry);

  std::unordered_map<int64_t, ProducerEntry> producers_;
  std::map<int64_t, int64_t> open_;       // first offset of each open transaction -> producer
  std::map<int64_t, int64_t> completed_;  // first offset -> offset of the marker, uncommitted
};

}  // namespace klamm::storage
