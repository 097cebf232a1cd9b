#include "storage/producer_state.h"

#include <algorithm>

#include "protocol/base/crc32c.h"
#include "protocol/generated/end_txn_marker.h"
#include "protocol/generated/producer_snapshot.h"

namespace klamm::storage {

using protocol::BatchView;
using protocol::Bytes;

namespace {

constexpr int16_t kSnapshotVersion = 1;
constexpr size_t kCrcPosition = 2;
constexpr size_t kCrcEnd = 6;

int32_t next_sequence(int32_t last) { return last == INT32_MAX ? 0 : last + 1; }

}  // namespace

std::optional<EndMarker> read_end_marker(const BatchView& batch) {
  constexpr int16_t kAbort = 0;
  constexpr int16_t kCommit = 1;
  protocol::RecordIterator records(batch.body(), batch.count());
  const auto record = records.next();
  if (!record || !*record || !(*record)->key || (*record)->key->size() < 4 || !(*record)->value ||
      (*record)->value->size() < 6) {
    return std::nullopt;
  }
  const auto type = protocol::load<int16_t>((*record)->key->data() + 2);
  if (type != kAbort && type != kCommit) {
    return std::nullopt;
  }
  return EndMarker{type == kAbort, protocol::load<int32_t>((*record)->value->data() + 2)};
}

Result<ProducerState::Verdict> ProducerState::check(const BatchView& batch) const {
  const auto found = producers_.find(batch.producer_id());
  if (found == producers_.end()) {
    return Verdict{};
  }
  const ProducerEntry& entry = found->second;
  if (batch.producer_epoch() < entry.epoch) {
    return fail(ErrorCode::kInvalidProducerEpoch,
                "the producer's epoch is older than the last one seen");
  }
  if (batch.is_control()) {
    const auto marker = read_end_marker(batch);
    return marker && marker->coordinator_epoch < entry.coordinator_epoch
               ? fail(ErrorCode::kTransactionCoordinatorFenced,
                      "the marker comes from a coordinator that has been replaced")
               : Result<Verdict>();
  }
  if (batch.producer_epoch() > entry.epoch) {
    if (batch.base_sequence() != 0 && entry.epoch != -1) {
      return fail(ErrorCode::kOutOfOrderSequenceNumber,
                  "a new producer epoch starts at sequence 0");
    }
    return Verdict{};
  }
  for (const ProducerBatch& known : entry.batches) {
    if (known.base_sequence() == batch.base_sequence() &&
        known.last_sequence == batch.last_sequence()) {
      return Verdict{true, known};
    }
  }
  // Behind a marker that brought a new epoch there is no last sequence, and 0 comes next.
  const int32_t last = entry.batches.empty() ? -1 : entry.batches.back().last_sequence;
  if (batch.base_sequence() != next_sequence(last)) {
    return fail(ErrorCode::kOutOfOrderSequenceNumber,
                "the batch does not follow the producer's last sequence");
  }
  return Verdict{};
}

std::optional<CompletedTxn> ProducerState::update(const BatchView& batch) {
  if (!batch.has_producer_id()) {
    return std::nullopt;
  }
  ProducerEntry& entry = producers_[batch.producer_id()];
  if (batch.producer_epoch() != entry.epoch) {
    entry.epoch = batch.producer_epoch();
    entry.batches.clear();
  }
  entry.last_timestamp = batch.max_timestamp();
  if (batch.is_control()) {
    return take_marker(batch, entry);
  }
  if (batch.is_transactional() && entry.txn_first_offset < 0) {
    entry.txn_first_offset = batch.base_offset();
    open_[entry.txn_first_offset] = batch.producer_id();
  }
  // Compaction leaves an empty batch for its last sequence, which is not new for that.
  entry.batches.push_back({batch.last_sequence(), batch.last_offset(), batch.last_offset_delta(),
                           batch.max_timestamp()});
  if (entry.batches.size() > kBatchesMax) {
    entry.batches.erase(entry.batches.begin());
  }
  return std::nullopt;
}

std::optional<CompletedTxn> ProducerState::take_marker(const BatchView& batch,
                                                       ProducerEntry& entry) {
  const auto marker = read_end_marker(batch);
  if (!marker) {
    return std::nullopt;
  }
  entry.coordinator_epoch = marker->coordinator_epoch;
  const int64_t first = std::exchange(entry.txn_first_offset, -1);
  if (first < 0) {
    return std::nullopt;
  }
  open_.erase(first);
  completed_[first] = batch.last_offset();
  return CompletedTxn{batch.producer_id(), first, batch.last_offset(), marker->aborts};
}

int64_t ProducerState::first_unstable_offset(int64_t high_watermark) {
  while (!completed_.empty() && completed_.begin()->second < high_watermark) {
    completed_.erase(completed_.begin());
  }
  return std::min(open_.empty() ? INT64_MAX : open_.begin()->first,
                  completed_.empty() ? INT64_MAX : completed_.begin()->first);
}

int64_t ProducerState::last_stable_offset(const CompletedTxn& completed) const {
  const auto other = open_.begin();
  return other == open_.end() ? completed.last_offset + 1 : other->first;
}

void ProducerState::expire(int64_t before_ms) {
  std::erase_if(producers_, [&](const auto& producer) {
    return producer.second.txn_first_offset < 0 && producer.second.last_timestamp < before_ms;
  });
}

std::string ProducerState::to_snapshot() const {
  protocol::ProducerSnapshot snapshot;
  for (const auto& [id, entry] : producers_) {
    protocol::ProducerSnapshot::ProducerEntry out;
    const ProducerBatch last = entry.batches.empty() ? ProducerBatch{} : entry.batches.back();
    out.producer_id = id;
    out.epoch = entry.epoch;
    out.last_sequence = last.last_sequence;
    out.last_offset = last.last_offset;
    out.offset_delta = last.offset_delta;
    out.timestamp = entry.last_timestamp;
    out.coordinator_epoch = entry.coordinator_epoch;
    out.current_txn_first_offset = entry.txn_first_offset;
    snapshot.producer_entries.push_back(out);
  }
  protocol::Writer out;
  out.fixed(kSnapshotVersion);
  snapshot.encode(out, kSnapshotVersion);
  protocol::store(out.mutable_head() + kCrcPosition, protocol::crc32c(out.head().subspan(kCrcEnd)));
  return {reinterpret_cast<const char*>(out.head().data()), out.head().size()};
}

Result<ProducerState> ProducerState::from_snapshot(std::string_view content) {
  const Bytes bytes = Bytes::copy_of(content);
  protocol::Reader in(bytes);
  protocol::ProducerSnapshot snapshot;
  const auto version = in.fixed<int16_t>();
  if (version != kSnapshotVersion) {
    return fail(ErrorCode::kCorruptMessage, "the producer snapshot has an unknown version");
  }
  snapshot.decode(in, version);
  if (!in.ok() ||
      static_cast<uint32_t>(snapshot.crc) != protocol::crc32c(bytes.span().subspan(kCrcEnd))) {
    return fail(ErrorCode::kCorruptMessage, "the producer snapshot is damaged");
  }
  ProducerState state;
  for (const auto& from : snapshot.producer_entries) {
    ProducerEntry& entry = state.producers_[from.producer_id];
    entry.epoch = from.epoch;
    entry.coordinator_epoch = from.coordinator_epoch;
    entry.last_timestamp = from.timestamp;
    entry.txn_first_offset = from.current_txn_first_offset;
    if (entry.txn_first_offset >= 0) {
      state.open_[entry.txn_first_offset] = from.producer_id;
    }
    if (from.last_sequence >= 0) {
      entry.batches.push_back(
          {from.last_sequence, from.last_offset, from.offset_delta, from.timestamp});
    }
  }
  return state;
}

}  // namespace klamm::storage
