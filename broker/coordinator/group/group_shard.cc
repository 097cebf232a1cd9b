#include "broker/coordinator/group/group_shard.h"

#include <type_traits>

#include "broker/coordinator/group/consumer/consumer_records.h"
#include "protocol/base/reader.h"

namespace klamm::broker {

using namespace protocol;

namespace {

// Whoever could not be taken out of its group is tried again after that long.
constexpr int64_t kFenceRetryMs = 1'000;

bool is_consumer_record(int16_t type) {
  return (type >= static_cast<int16_t>(ConsumerRecord::kGroup) &&
          type <= static_cast<int16_t>(ConsumerRecord::kCurrent)) ||
         type == static_cast<int16_t>(ConsumerRecord::kRegex);
}
bool is_streams_record(int16_t type) {
  return type == static_cast<int16_t>(StreamsRecord::kGroup) ||
         (type >= static_cast<int16_t>(StreamsRecord::kMember) &&
          type <= static_cast<int16_t>(StreamsRecord::kTopology));
}
bool is_share_record(int16_t type) {
  return type >= static_cast<int16_t>(ShareRecord::kMember) &&
         type <= static_cast<int16_t>(ShareRecord::kPartitions);
}

}  // namespace

ClassicGroup& GroupShard::find_or_create_classic(const std::string& group_id) {
  if (ClassicGroup* const known = find<ClassicGroup>(group_id)) {
    return *known;
  }
  auto fresh = std::make_unique<ClassicGroup>(group_id, config_.classic, *this);
  ClassicGroup& group = *fresh;
  groups_[group_id] = std::move(fresh);
  return group;
}

void GroupShard::unschedule(const std::string& group_id) {
  if (const auto known = deadline_of_.find(group_id); known != deadline_of_.end()) {
    deadlines_.erase({known->second, group_id});
    deadline_of_.erase(known);
  }
}

void GroupShard::reschedule(const std::string& group_id) {
  unschedule(group_id);
  const Group* const group = find(group_id);
  if (group == nullptr) {
    return;
  }
  if (const auto deadline = group->next_deadline()) {
    deadlines_.insert({*deadline, group_id});
    deadline_of_[group_id] = *deadline;
  }
}

int64_t GroupShard::note_topics(const replication::MetadataImage& image) {
  if (topics_ != image.topics) {
    topics_ = image.topics;
    topics_offset_ = image.offset;
  }
  return topics_offset_;
}

void GroupShard::write(std::vector<CoordinatorRecord> records,
                       std::function<void(ErrorCode)> done) {
  records.empty() ? done(ErrorCode::kNone) : sink_.append(std::move(records), std::move(done));
}

std::vector<CoordinatorRecord> GroupShard::tombstones(const Group& group) const {
  std::vector<CoordinatorRecord> records;
  group.add_tombstones(records);
  return records;
}

void GroupShard::remove_group(const std::string& group_id, Respond<ErrorCode> respond) {
  const Group* const group = find(group_id);
  if (group == nullptr && !offsets_.knows(group_id)) {
    return respond(ErrorCode::kGroupIdNotFound);
  }
  if (group != nullptr && !group->is_empty()) {
    return respond(ErrorCode::kNonEmptyGroup);
  }
  if (const auto* const share = dynamic_cast<const ShareGroup*>(group)) {
    return remove_share_group(*share, std::move(respond));
  }
  auto records = offsets_.tombstones(group_id);
  if (group == nullptr) {
    records.push_back(group_tombstone(group_id));
  } else {
    group->add_tombstones(records);
  }
  sink_.append(std::move(records), copyable(std::move(respond)));
}

void GroupShard::list(std::vector<ListGroupsResponse::ListedGroup>& into) const {
  for (const auto& [id, group] : groups_) {
    into.push_back({.group_id = id,
                    .protocol_type = group->protocol_type(),
                    .group_state = std::string(group->state_name()),
                    .group_type = std::string(name_of(group->type()))});
  }
  for (const auto& id : offsets_.group_ids()) {
    if (!groups_.contains(id)) {
      into.push_back({.group_id = id,
                      .protocol_type = "",
                      .group_state = std::string(name_of(GroupState::kEmpty)),
                      .group_type = std::string(name_of(GroupType::kClassic))});
    }
  }
}

void GroupShard::expire(int64_t now_ms) {
  std::vector<CoordinatorRecord> records;
  std::set<std::string> ids = offsets_.group_ids();
  for (const auto& [id, group] : groups_) {
    ids.insert(id);
  }
  for (const auto& id : ids) {
    const Group* const group = find(id);
    const auto* const classic = find<ClassicGroup>(id);
    if (classic != nullptr && !classic->is_empty()) {
      continue;
    }
    const auto* offsets = offsets_.group(id);
    auto expired = offsets_.expired(
        id, classic == nullptr ? -1 : classic->state_since_ms(), config_.offsets_retention_ms,
        now_ms, [&](const std::string& topic) { return group && group->is_subscribed(topic); });
    const bool nothing_left =
        expired.size() == (offsets == nullptr ? 0 : offsets->size()) && !offsets_.has_pending(id);
    std::move(expired.begin(), expired.end(), std::back_inserter(records));
    // Share groups end when they are deleted.
    if (group != nullptr && nothing_left && group->is_empty() && !group->next_deadline() &&
        group->type() != GroupType::kShare) {
      group->add_tombstones(records);
    }
  }
  write(std::move(records), [](ErrorCode) {});
}

// A record of one protocol makes a group of that protocol; a tombstone concerns no other.
template <class G>
void GroupShard::replay_to(const std::string& group_id, const CoordinatorRecord& record,
                           bool ends_group) {
  G* group = find<G>(group_id);
  if (group == nullptr) {
    if (!record.value) {
      return;
    }
    unschedule(group_id);
    auto fresh = std::make_unique<G>(group_id);
    group = fresh.get();
    groups_[group_id] = std::move(fresh);
  }
  if (ends_group && !record.value) {
    unschedule(group_id);
    groups_.erase(group_id);
    return;
  }
  group->apply(record);
}

void GroupShard::replay(const CoordinatorRecord& record, RecordPlace place, int64_t) {
  // Every key begins with its type and the group's id.
  Reader key(record.key);
  const auto type = key.fixed<int16_t>();
  const auto replay_as = [&]<class G>(std::type_identity<G>, auto group_type) {
    const auto group_id = key.string(false);
    if (key.ok()) {
      replay_to<G>(group_id, record, type == static_cast<int16_t>(group_type));
    }
  };
  if (is_consumer_record(type)) {
    return replay_as(std::type_identity<ConsumerGroup>(), ConsumerRecord::kGroup);
  }
  if (is_share_record(type)) {
    return replay_as(std::type_identity<ShareGroup>(), ShareRecord::kGroup);
  }
  if (is_streams_record(type)) {
    return replay_as(std::type_identity<StreamsGroup>(), StreamsRecord::kGroup);
  }
  const ParsedRecord parsed = parse_group_record(record);
  if (const auto* offset = std::get_if<ParsedOffset>(&parsed)) {
    offsets_.replay(*offset, place);
  } else if (const auto* group = std::get_if<ParsedGroup>(&parsed)) {
    if (group->value) {
      find_or_create_classic(group->group_id).apply(*group->value);
    } else if (find<ClassicGroup>(group->group_id) != nullptr) {
      unschedule(group->group_id);
      groups_.erase(group->group_id);
    }
  }
}

void GroupShard::loaded(int64_t now_ms) {
  const auto image = surroundings_.image();
  for (auto& [id, group] : groups_) {
    if (auto* const classic = dynamic_cast<ClassicGroup*>(group.get())) {
      classic->start_sessions(now_ms);
    } else if (auto* const consumer = dynamic_cast<ConsumerGroup*>(group.get())) {
      consumer->start_sessions(consumer_settings(id, *image), now_ms);
    } else if (auto* const share = dynamic_cast<ShareGroup*>(group.get())) {
      share->start_sessions(share_settings(id, *image).session_timeout_ms, now_ms);
    } else if (auto* const streams = dynamic_cast<StreamsGroup*>(group.get())) {
      streams->start_sessions(streams_settings(id, *image).session_timeout_ms, now_ms);
    }
    reschedule(id);
  }
  next_expiry_check_ms_ = now_ms + config_.expiry_check_ms;
}

void GroupShard::unloaded() {
  for (const auto& [id, group] : groups_) {
    group->unload();
  }
}

void GroupShard::tick_group(const std::string& group_id, int64_t now_ms) {
  if (auto* const classic = find<ClassicGroup>(group_id)) {
    classic->tick(now_ms);
  } else if (auto* const consumer = find<ConsumerGroup>(group_id)) {
    const auto silent = consumer->overdue(now_ms);
    consumer->postpone(silent, now_ms + kFenceRetryMs);
    fence(group_id, silent, now_ms, [](ErrorCode) {});
  } else if (auto* const share = find<ShareGroup>(group_id)) {
    const auto silent = share->overdue(now_ms);
    for (const auto& id : silent) {
      share->touch(id, kFenceRetryMs, now_ms);
    }
    fence_share_members(group_id, silent, now_ms, [](ErrorCode) {});
  } else if (auto* const streams = find<StreamsGroup>(group_id)) {
    const auto silent = streams->overdue(now_ms);
    streams->postpone(silent, now_ms + kFenceRetryMs);
    if (streams->delayed_until() && *streams->delayed_until() <= now_ms) {
      assign_streams_group(*streams, now_ms);
    }
    fence_streams_members(group_id, silent, now_ms, [](ErrorCode) {});
  }
  reschedule(group_id);
}

void GroupShard::tick(int64_t now_ms) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_ms) {
    tick_group(std::string(deadlines_.begin()->second), now_ms);
  }
  if (next_expiry_check_ms_ <= now_ms) {
    expire(now_ms);
    next_expiry_check_ms_ = now_ms + config_.expiry_check_ms;
  }
}

std::optional<int64_t> GroupShard::next_deadline() const {
  return deadlines_.empty() ? next_expiry_check_ms_
                            : std::min(deadlines_.begin()->first, next_expiry_check_ms_);
}

void GroupShard::persist(const std::string& group_id, const GroupMetadataValue& value,
                         std::function<void(ErrorCode)> committed) {
  sink_.append({group_record(group_id, value)}, std::move(committed));
}

}  // namespace klamm::broker
