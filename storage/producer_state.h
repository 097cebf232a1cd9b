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
#include "storage/txn_index.h"

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
// The control batch with that record.
protocol::Bytes build_end_marker(int64_t producer_id, int16_t epoch, const EndMarker& marker,
                                 int64_t now_ms);

// Who writes a batch, and so what is asked of its producer.
struct AppendOrigin {
  enum class Writer : uint8_t { kClient, kCoordinator, kQuorum };
  Writer writer = Writer::kClient;
  // transaction.version of the transaction: from 2 on each has an epoch of its own (KIP-890).
  int16_t transaction_version = 0;
  // What begin_verification gave for a client's transactional batch; nullopt: nothing is verified.
  std::optional<uint64_t> verification{};
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
  // TRANSACTION_COORDINATOR_FENCED for the marker of a coordinator that is not the last one seen;
  // INVALID_TXN_STATE for a batch outside the producer's transaction, or of one that nobody has
  // verified.
  Result<Verdict> check(const protocol::BatchView& batch, const AppendOrigin& origin = {}) const;
  // Before a transaction's coordinator is asked whether a batch belongs to it: what the batch is to
  // be appended with, unless a marker comes in between. 0 when the transaction is open here.
  uint64_t begin_verification(int64_t producer_id, int16_t epoch, int32_t base_sequence,
                              int64_t now_ms);
  // The transaction that a batch aborts; nullopt when it is no marker, or not one that does.
  std::optional<AbortedTxn> aborted_by(const protocol::BatchView& batch) const;
  // Takes over a batch that has been appended. Batches without a producer id change nothing.
  void update(const protocol::BatchView& batch, int16_t transaction_version = 0);

  // Forgets producers that wrote nothing since `before_ms` and have no open transaction.
  void expire(int64_t before_ms);
  // Offset up to which every transaction has ended by a marker below the high watermark; INT64_MAX
  // when none is open. What is below the watermark once stays so.
  int64_t first_unstable_offset(int64_t high_watermark);
  size_t size() const { return producers_.size(); }
  const std::unordered_map<int64_t, ProducerEntry>& producers() const { return producers_; }
  void clear() { *this = {}; }

  // The snapshot's bytes (FORMAT.md, "producer snapshot").
  std::string to_snapshot() const;
  // CORRUPT_MESSAGE when the checksum or the structure is wrong.
  static Result<ProducerState> from_snapshot(std::string_view content);

 private:
  struct Verification {
    uint64_t token = 0;
    int16_t epoch = -1;
    int32_t sequence_min = 0;  // of the batches that have come for it: none before may be left out
    int64_t begun_ms = 0;
  };

  Result<> check_marker(const protocol::BatchView& batch, const ProducerEntry* entry,
                        const AppendOrigin& origin) const;
  Result<> check_transaction(const protocol::BatchView& batch, const ProducerEntry* entry,
                             const AppendOrigin& origin) const;
  void take_marker(const protocol::BatchView& batch, ProducerEntry& entry);

  std::unordered_map<int64_t, ProducerEntry> producers_;
  std::map<int64_t, int64_t> open_;  // first offset of each open transaction -> producer
  std::unordered_map<int64_t, Verification> verifications_;
  uint64_t last_token_ = 0;
  std::map<int64_t, int64_t> completed_;  // first offset -> offset of the marker, uncommitted
};

}  // namespace klamm::storage
