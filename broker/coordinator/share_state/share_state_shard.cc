#include "broker/coordinator/share_state/share_state_shard.h"

#include <algorithm>

#include "broker/coordinator/record_codec.h"
#include "protocol/generated/share_snapshot_key.h"
#include "protocol/generated/share_snapshot_value.h"
#include "protocol/generated/share_update_key.h"
#include "protocol/generated/share_update_value.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int16_t kSnapshotType = 0;
constexpr int16_t kUpdateType = 1;

template <class Key>
Bytes key_of(int16_t type, const SharePartitionKey& from) {
  Key key;
  key.group_id = from.group_id;
  key.topic_id = from.topic_id;
  key.partition = from.partition;
  return prefixed(type, key, 0);
}

template <class Value>
void put_batches(const std::vector<DeliveryBatch>& batches, Value& value) {
  for (const auto& batch : batches) {
    auto& out = value.state_batches.emplace_back();
    out.first_offset = batch.first;
    out.last_offset = batch.last;
    out.delivery_state = static_cast<int8_t>(batch.state);
    out.delivery_count = batch.deliveries;
  }
}

template <class Value>
std::vector<DeliveryBatch> batches_of(const Value& value) {
  std::vector<DeliveryBatch> batches;
  for (const auto& batch : value.state_batches) {
    batches.push_back({batch.first_offset, batch.last_offset,
                       static_cast<DeliveryState>(batch.delivery_state), batch.delivery_count});
  }
  return batches;
}

CoordinatorRecord snapshot_record(const SharePartitionKey& key, const SharePartitionState& state) {
  ShareSnapshotValue value;
  value.snapshot_epoch = state.snapshot_epoch;
  value.state_epoch = state.state_epoch;
  value.leader_epoch = state.leader_epoch;
  value.start_offset = state.start_offset;
  value.delivery_complete_count = state.delivery_complete_count;
  value.create_timestamp = state.created_ms;
  value.write_timestamp = state.written_ms;
  put_batches(state.batches, value);
  return {key_of<ShareSnapshotKey>(kSnapshotType, key), prefixed(0, value, 0)};
}

template <class Key>
std::optional<SharePartitionKey> read_key(Reader& in) {
  auto key = read_message<Key>(in, 0);
  return key ? std::optional(SharePartitionKey{key->group_id, key->topic_id, key->partition})
             : std::nullopt;
}

}  // namespace

Result<> ShareStateShard::check_exists(const SharePartitionKey& key) const {
  if (key.partition < 0) {
    return fail(ErrorCode::kInvalidRequest, "The partition cannot be negative.");
  }
  const auto topic = image_()->topic(key.topic_id);
  if (topic == nullptr || !topic->partitions.contains(key.partition)) {
    return fail(ErrorCode::kUnknownTopicOrPartition, "There is no such partition.");
  }
  return {};
}

Result<SharePartitionState> ShareStateShard::find(const SharePartitionKey& key,
                                                  int32_t leader_epoch) const {
  const auto found = states_.find(key);
  if (key.partition < 0 || found == states_.end()) {
    return fail(ErrorCode::kInvalidRequest, "The share partition was not initialized.");
  }
  if (leader_epoch != -1 && found->second.leader_epoch > leader_epoch) {
    return fail(ErrorCode::kFencedLeaderEpoch, "The partition has another leader now.");
  }
  TRY_VOID(check_exists(key));
  return found->second;
}

void ShareStateShard::initialize(const SharePartitionKey& key, int32_t state_epoch,
                                 int64_t start_offset, int64_t now_ms, Respond<ErrorCode> respond) {
  const auto known = states_.find(key);
  if (state_epoch != -1 && known != states_.end() && known->second.state_epoch > state_epoch) {
    return respond(ErrorCode::kFencedStateEpoch);
  }
  if (const auto exists = check_exists(key); !exists) {
    return respond(exists.error().code);
  }
  SharePartitionState state;
  if (known != states_.end()) {
    state.snapshot_epoch = known->second.snapshot_epoch + 1;
    // Kafka writes 0; leaders of before would be let in again once the records before are gone.
    state.leader_epoch = known->second.leader_epoch;
  }
  state.state_epoch = state_epoch;
  state.start_offset = start_offset;
  state.delivery_complete_count = start_offset == -1 ? -1 : 0;  // from a decided start on it counts
  state.created_ms = now_ms;
  state.written_ms = now_ms;
  sink_.append({snapshot_record(key, state)}, copyable(std::move(respond)));
}

CoordinatorRecord ShareStateShard::next_record(const SharePartitionKey& key,
                                               const SharePartitionState& state,
                                               const ShareStateUpdate& update, int32_t leader_epoch,
                                               int64_t now_ms) const {
  if (state.updates >= config_.updates_per_snapshot) {
    SharePartitionState next = state;
    ++next.snapshot_epoch;
    next.leader_epoch = leader_epoch;
    next.start_offset = update.start_offset == -1 ? state.start_offset : update.start_offset;
    next.delivery_complete_count = update.delivery_complete_count;
    next.batches = combine(state.batches, update.batches, next.start_offset);
    next.created_ms = now_ms;
    next.written_ms = now_ms;
    return snapshot_record(key, next);
  }
  ShareUpdateValue value;
  value.snapshot_epoch = state.snapshot_epoch;
  value.leader_epoch = leader_epoch;
  value.start_offset = update.start_offset;
  value.delivery_complete_count = update.delivery_complete_count;
  put_batches(combine({}, update.batches, update.start_offset), value);
  return {key_of<ShareUpdateKey>(kUpdateType, key), prefixed(0, value, 0)};
}

void ShareStateShard::read(const SharePartitionKey& key, int32_t leader_epoch, int64_t now_ms,
                           Respond<Result<SharePartitionState>> respond) {
  const auto state = find(key, leader_epoch);
  if (!state || leader_epoch == -1 || state->leader_epoch == leader_epoch) {
    return respond(state);
  }
  ShareStateUpdate update;
  update.start_offset = state->start_offset;
  update.delivery_complete_count = state->delivery_complete_count;
  sink_.append({next_record(key, *state, update, leader_epoch, now_ms)},
               [respond = copyable(std::move(respond)), state = *state](ErrorCode code) {
                 respond(code == ErrorCode::kNone ? Result<SharePartitionState>(state)
                                                  : fail(code, "The state could not be written."));
               });
}

void ShareStateShard::write(const SharePartitionKey& key, const ShareStateUpdate& update,
                            int64_t now_ms, Respond<ErrorCode> respond) {
  const auto state = find(key, update.leader_epoch);
  if (!state) {
    return respond(state.error().code);
  }
  if (update.state_epoch != -1 && state->state_epoch > update.state_epoch) {
    return respond(ErrorCode::kFencedStateEpoch);
  }
  sink_.append({next_record(key, *state, update, state->leader_epoch, now_ms)},
               copyable(std::move(respond)));
}

void ShareStateShard::remove(const SharePartitionKey& key, Respond<ErrorCode> respond) {
  if (const auto exists = check_exists(key); !exists) {
    return respond(exists.error().code);
  }
  if (!states_.contains(key)) {
    return respond(ErrorCode::kNone);
  }
  sink_.append({{key_of<ShareSnapshotKey>(kSnapshotType, key), std::nullopt}},
               copyable(std::move(respond)));
}

Result<SharePartitionState> ShareStateShard::summary(const SharePartitionKey& key) const {
  TRY_VOID(check_exists(key));
  const auto found = states_.find(key);
  return found == states_.end() ? SharePartitionState() : found->second;
}

void ShareStateShard::replay(const CoordinatorRecord& record, RecordPlace place, int64_t) {
  end_ = place.offset + 1;
  Reader in(record.key);
  const auto type = in.fixed<int16_t>();
  if (type == kSnapshotType) {
    const auto key = read_key<ShareSnapshotKey>(in);
    std::optional<ShareSnapshotValue> value;
    if (!key || !read_value(record, value)) {
      return;
    }
    if (!value) {
      states_.erase(*key);
      snapshots_at_.erase(*key);
      return;
    }
    SharePartitionState& state = states_[*key];
    state = {value->snapshot_epoch,
             value->state_epoch,
             std::max(state.leader_epoch, value->leader_epoch),
             value->start_offset,
             value->delivery_complete_count,
             batches_of(*value),
             value->create_timestamp,
             value->write_timestamp};
    snapshots_at_[*key] = place.offset;
  } else if (type == kUpdateType) {
    const auto key = read_key<ShareUpdateKey>(in);
    std::optional<ShareUpdateValue> value;
    if (!key || !read_value(record, value) || !value || !states_.contains(*key)) {
      return;
    }
    SharePartitionState& state = states_.at(*key);
    state.leader_epoch = std::max(state.leader_epoch, value->leader_epoch);
    state.start_offset = value->start_offset == -1 ? state.start_offset : value->start_offset;
    state.delivery_complete_count = value->delivery_complete_count;
    state.batches = combine(state.batches, batches_of(*value), state.start_offset);
    ++state.updates;
  }
}

void ShareStateShard::tick(int64_t now_ms) {
  if (now_ms < next_check_ms_) {
    return;
  }
  next_check_ms_ = now_ms + config_.cold_snapshot_ms;
  std::vector<CoordinatorRecord> records;
  for (const auto& [key, state] : states_) {
    if (!check_exists(key)) {  // the topic was deleted
      records.push_back({key_of<ShareSnapshotKey>(kSnapshotType, key), std::nullopt});
      continue;
    }
    const bool is_cold = now_ms - state.written_ms >= config_.cold_snapshot_ms;
    // One that has not changed since it was last written anew keeps its place.
    if (is_cold && state.updates > 0) {
      SharePartitionState next = state;
      ++next.snapshot_epoch;
      next.written_ms = now_ms;
      records.push_back(snapshot_record(key, next));
    }
  }
  if (!records.empty()) {
    sink_.append(std::move(records), [](ErrorCode) {});
  }
}

int64_t ShareStateShard::first_needed_offset() const {
  int64_t first = end_;
  for (const auto& [key, offset] : snapshots_at_) {
    first = std::min(first, offset);
  }
  return first;
}

}  // namespace klamm::broker
