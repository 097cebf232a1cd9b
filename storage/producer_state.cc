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
  if (!entry.batches.empty() &&
      batch.base_sequence() != next_sequence(entry.batches.back().last_sequence)) {
    return fail(ErrorCode::kOutOfOrderSequenceNumber,
                "the batch does not follow the producer's last sequence");
  }
  return Verdict{};
}

void ProducerState::update(const BatchView& batch) {
  if (!batch.has_producer_id()) {
    return;
  }
  ProducerEntry& entry = producers_[batch.producer_id()];
  if (batch.producer_epoch() != entry.epoch) {
    entry.epoch = batch.producer_epoch();
    entry.batches.clear();
  }
  entry.last_timestamp = batch.max_timestamp();
  if (batch.is_control()) {
    entry.txn_first_offset = -1;
    entry.batches.clear();
    protocol::RecordIterator records(batch.body(), batch.count());
    const auto marker = records.next();
    if (marker && *marker && (*marker)->value && (*marker)->value->size() >= 6) {
      entry.coordinator_epoch = protocol::load<int32_t>((*marker)->value->data() + 2);
    }
    return;
  }
  if (batch.is_transactional() && entry.txn_first_offset < 0) {
    entry.txn_first_offset = batch.base_offset();
  }
  entry.batches.push_back({batch.last_sequence(), batch.last_offset(), batch.last_offset_delta(),
                           batch.max_timestamp()});
  if (entry.batches.size() > kBatchesMax) {
    entry.batches.pop_front();
  }
}

void ProducerState::expire(int64_t before_ms) {
  std::erase_if(producers_, [&](const auto& producer) {
    return producer.second.txn_first_offset < 0 && producer.second.last_timestamp < before_ms;
  });
}

int64_t ProducerState::first_unstable_offset() const {
  int64_t first = INT64_MAX;
  for (const auto& [id, entry] : producers_) {
    if (entry.txn_first_offset >= 0) {
      first = std::min(first, entry.txn_first_offset);
    }
  }
  return first;
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
    if (from.last_sequence >= 0) {
      entry.batches.push_back(
          {from.last_sequence, from.last_offset, from.offset_delta, from.timestamp});
    }
  }
  return state;
}

}  // namespace klamm::storage
