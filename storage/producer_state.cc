#include "storage/producer_state.h"

#include <algorithm>

#include "protocol/base/crc32c.h"
#include "protocol/generated/end_txn_marker.h"
#include "protocol/generated/producer_snapshot.h"
#include "protocol/records/builder.h"

namespace klamm::storage {

using protocol::BatchView;
using protocol::Bytes;

namespace {

constexpr int16_t kSnapshotVersion = 1;
constexpr size_t kCrcPosition = 2;
constexpr size_t kCrcEnd = 6;
// Types of control records.
constexpr int16_t kAbort = 0;
constexpr int16_t kCommit = 1;

int32_t next_sequence(int32_t last) { return last == INT32_MAX ? 0 : last + 1; }

bool has_open_transaction(const ProducerEntry* entry, int16_t epoch) {
  return entry != nullptr && entry->txn_first_offset >= 0 && entry->epoch == epoch;
}

}  // namespace

std::optional<EndMarker> read_end_marker(const BatchView& batch) {
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

Bytes build_end_marker(int64_t producer_id, int16_t epoch, const EndMarker& marker,
                       int64_t now_ms) {
  protocol::BatchBuilder builder({.producer_id = producer_id,
                                  .producer_epoch = epoch,
                                  .transactional = true,
                                  .control = true});
  std::array<uint8_t, 4> key{};
  std::array<uint8_t, 6> value{};
  protocol::store(key.data() + 2, marker.aborts ? kAbort : kCommit);
  protocol::store(value.data() + 2, marker.coordinator_epoch);
  builder.add(now_ms, key, value);
  return builder.build();
}

Result<> ProducerState::check_marker(const BatchView& batch, const ProducerEntry* entry,
                                     const AppendOrigin& origin) const {
  if (entry == nullptr) {
    return {};
  }
  const auto marker = read_end_marker(batch);
  // Where each transaction has its epoch its marker brings the next one; the same once more is the
  // repetition of what has ended.
  const bool repeats = entry->txn_first_offset < 0 || entry->epoch == INT16_MAX;
  if (origin.transaction_version >= 2 && batch.producer_epoch() == entry->epoch && !repeats) {
    return fail(ErrorCode::kInvalidProducerEpoch,
                "the marker's epoch is that of a transaction that is open");
  }
  if (marker && marker->coordinator_epoch < entry->coordinator_epoch) {
    return fail(ErrorCode::kTransactionCoordinatorFenced,
                "the marker comes from a coordinator that has been replaced");
  }
  return {};
}

Result<> ProducerState::check_transaction(const BatchView& batch, const ProducerEntry* entry,
                                          const AppendOrigin& origin) const {
  if (!batch.is_transactional()) {
    return entry != nullptr && entry->txn_first_offset >= 0
               ? fail(ErrorCode::kInvalidTxnState,
                      "the producer has a transaction open, and the batch is outside it")
               : Result<>();
  }
  if (!origin.verification || has_open_transaction(entry, batch.producer_epoch())) {
    return {};
  }
  const auto known = verifications_.find(batch.producer_id());
  if (known == verifications_.end() || known->second.token != *origin.verification) {
    return fail(ErrorCode::kInvalidTxnState,
                "the batch is in no transaction that its coordinator has confirmed");
  }
  const bool is_client = origin.writer == AppendOrigin::Writer::kClient;
  const bool is_first = entry == nullptr || entry->batches.empty();
  if (is_client && (batch.base_sequence() > known->second.sequence_min ||
                    (origin.transaction_version >= 2 && is_first && batch.base_sequence() != 0))) {
    return fail(ErrorCode::kOutOfOrderSequenceNumber,
                "an earlier batch of the producer's transaction is missing");
  }
  return {};
}

Result<ProducerState::Verdict> ProducerState::check(const BatchView& batch,
                                                    const AppendOrigin& origin) const {
  const auto found = producers_.find(batch.producer_id());
  const ProducerEntry* const entry = found == producers_.end() ? nullptr : &found->second;
  if (entry != nullptr && batch.producer_epoch() < entry->epoch) {
    return fail(ErrorCode::kInvalidProducerEpoch,
                "the producer's epoch is older than the last one seen");
  }
  if (batch.is_control()) {
    TRY_VOID(check_marker(batch, entry, origin));
    return Verdict{};
  }
  const bool is_client = origin.writer == AppendOrigin::Writer::kClient;
  const bool is_new_epoch = entry != nullptr && batch.producer_epoch() > entry->epoch;
  if (entry != nullptr && is_client && !is_new_epoch) {
    for (const ProducerBatch& known : entry->batches) {
      if (known.base_sequence() == batch.base_sequence() &&
          known.last_sequence == batch.last_sequence()) {
        return Verdict{true, known};
      }
    }
  }
  TRY_VOID(check_transaction(batch, entry, origin));
  if (!is_client || entry == nullptr) {
    return Verdict{};
  }
  if (is_new_epoch) {
    if (batch.base_sequence() != 0 && entry->epoch != -1) {
      return fail(ErrorCode::kOutOfOrderSequenceNumber,
                  "a new producer epoch starts at sequence 0");
    }
    return Verdict{};
  }
  // Behind a marker that brought a new epoch there is no last sequence, and 0 comes next.
  const int32_t last = entry->batches.empty() ? -1 : entry->batches.back().last_sequence;
  if (batch.base_sequence() != next_sequence(last)) {
    return fail(ErrorCode::kOutOfOrderSequenceNumber,
                "the batch does not follow the producer's last sequence");
  }
  return Verdict{};
}

uint64_t ProducerState::begin_verification(int64_t producer_id, int16_t epoch,
                                           int32_t base_sequence, int64_t now_ms) {
  const auto found = producers_.find(producer_id);
  if (has_open_transaction(found == producers_.end() ? nullptr : &found->second, epoch)) {
    return 0;
  }
  Verification& known = verifications_[producer_id];
  if (known.token == 0) {
    known = {++last_token_, epoch, base_sequence, now_ms};
  } else if (epoch > known.epoch) {
    known.epoch = epoch;
    known.sequence_min = base_sequence;
  } else if (epoch == known.epoch) {
    known.sequence_min = std::min(known.sequence_min, base_sequence);
  }
  return known.token;
}

std::optional<AbortedTxn> ProducerState::aborted_by(const BatchView& batch) const {
  if (!batch.is_control()) {
    return std::nullopt;
  }
  const auto producer = producers_.find(batch.producer_id());
  if (producer == producers_.end() || producer->second.txn_first_offset < 0) {
    return std::nullopt;
  }
  const auto marker = read_end_marker(batch);
  if (!marker || !marker->aborts) {
    return std::nullopt;
  }
  // Stable behind the marker is what comes before the first transaction that stays open (KIP-98).
  const int64_t first = producer->second.txn_first_offset;
  const auto other =
      std::ranges::find_if(open_, [&](const auto& open) { return open.first != first; });
  return AbortedTxn{batch.producer_id(), first, batch.last_offset(),
                    other == open_.end() ? batch.last_offset() + 1 : other->first};
}

void ProducerState::update(const BatchView& batch, int16_t transaction_version) {
  if (!batch.has_producer_id()) {
    return;
  }
  ProducerEntry& entry = producers_[batch.producer_id()];
  if (batch.producer_epoch() != entry.epoch) {
    entry.epoch = batch.producer_epoch();
    entry.batches.clear();
  }
  entry.last_timestamp = batch.max_timestamp();
  const auto asked = verifications_.find(batch.producer_id());
  // Where each transaction has its epoch a marker brings that of the next one, which may be asked
  // for already: the marker says nothing of it, also when it is repeated.
  if (asked != verifications_.end() && !(batch.is_control() && transaction_version >= 2 &&
                                         batch.producer_epoch() == asked->second.epoch)) {
    verifications_.erase(asked);
  }
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
}

void ProducerState::take_marker(const BatchView& batch, ProducerEntry& entry) {
  const auto marker = read_end_marker(batch);
  if (!marker) {
    return;
  }
  entry.coordinator_epoch = marker->coordinator_epoch;
  if (const int64_t first = std::exchange(entry.txn_first_offset, -1); first >= 0) {
    open_.erase(first);
    completed_[first] = batch.last_offset();
  }
}

int64_t ProducerState::first_unstable_offset(int64_t high_watermark) {
  while (!completed_.empty() && completed_.begin()->second < high_watermark) {
    completed_.erase(completed_.begin());
  }
  return std::min(open_.empty() ? INT64_MAX : open_.begin()->first,
                  completed_.empty() ? INT64_MAX : completed_.begin()->first);
}

void ProducerState::expire(int64_t before_ms) {
  std::erase_if(producers_, [&](const auto& producer) {
    return producer.second.txn_first_offset < 0 && producer.second.last_timestamp < before_ms;
  });
  std::erase_if(verifications_,
                [&](const auto& asked) { return asked.second.begun_ms < before_ms; });
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
    if (from.last_offset >= 0) {
      entry.batches.push_back(
          {from.last_sequence, from.last_offset, from.offset_delta, from.timestamp});
    }
  }
  return state;
}

}  // namespace klamm::storage
