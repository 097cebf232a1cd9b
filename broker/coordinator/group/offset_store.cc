#include "broker/coordinator/group/offset_store.h"

#include <algorithm>

namespace klamm::broker {
namespace {

protocol::OffsetCommitKey key_of(const std::string& group_id, const OffsetStore::Place& place) {
  protocol::OffsetCommitKey key;
  key.group = group_id;
  key.topic = place.first;
  key.partition = place.second;
  return key;
}

}  // namespace

void OffsetStore::replay(const ParsedOffset& record, RecordPlace at) {
  const Place place{record.key.topic, record.key.partition};
  const std::string& group_id = record.key.group;
  if (!record.value) {
    if (const auto group = groups_.find(group_id); group != groups_.end()) {
      group->second.erase(place);
      if (group->second.empty()) {
        groups_.erase(group);
      }
    }
    return remove_pending(group_id, place);
  }
  CommittedOffset offset{.offset = record.value->offset,
                         .leader_epoch = record.value->leader_epoch,
                         .metadata = record.value->metadata,
                         .commit_ms = record.value->commit_timestamp,
                         .expire_ms = record.value->expire_timestamp,
                         .topic_id = record.value->topic_id,
                         .record_offset = at.offset};
  if (at.producer_id < 0) {
    groups_[group_id][place] = std::move(offset);
    return;
  }
  pending_[at.producer_id][group_id][place] = std::move(offset);
  pending_of_[group_id][place].insert(at.producer_id);
}

void OffsetStore::forget_pending(const std::string& group_id, const Place& place,
                                 int64_t producer_id) {
  const auto group = pending_of_.find(group_id);
  const auto producers = group->second.find(place);
  producers->second.erase(producer_id);
  if (producers->second.empty()) {
    group->second.erase(producers);
  }
  if (group->second.empty()) {
    pending_of_.erase(group);
  }
}

void OffsetStore::remove_pending(const std::string& group_id, const Place& place) {
  if (!has_pending(group_id, place)) {
    return;
  }
  for (const int64_t producer_id : std::set(pending_of_.at(group_id).at(place))) {
    pending_.at(producer_id).at(group_id).erase(place);
    forget_pending(group_id, place, producer_id);
  }
}

void OffsetStore::end_transaction(int64_t producer_id, bool commits) {
  auto ended = pending_.extract(producer_id);
  if (ended.empty()) {
    return;
  }
  for (auto& [group_id, offsets] : ended.mapped()) {
    for (auto& [place, offset] : offsets) {
      forget_pending(group_id, place, producer_id);
      if (!commits) {
        continue;
      }
      CommittedOffset& known = groups_[group_id][place];
      if (offset.record_offset > known.record_offset) {
        known = std::move(offset);
      }
    }
  }
}

bool OffsetStore::has_pending(const std::string& group_id, const Place& place) const {
  const auto group = pending_of_.find(group_id);
  return group != pending_of_.end() && group->second.contains(place);
}

const OffsetStore::GroupOffsets* OffsetStore::group(const std::string& group_id) const {
  const auto found = groups_.find(group_id);
  return found == groups_.end() ? nullptr : &found->second;
}

std::vector<CoordinatorRecord> OffsetStore::tombstones(const std::string& group_id) const {
  std::set<Place> places;
  if (const GroupOffsets* offsets = group(group_id)) {
    for (const auto& [place, offset] : *offsets) {
      places.insert(place);
    }
  }
  if (const auto pending = pending_of_.find(group_id); pending != pending_of_.end()) {
    for (const auto& [place, producers] : pending->second) {
      places.insert(place);
    }
  }
  std::vector<CoordinatorRecord> records;
  for (const Place& place : places) {
    records.push_back(offset_tombstone(key_of(group_id, place)));
  }
  return records;
}

void OffsetStore::add_tombstone(const std::string& group_id, const Place& place,
                                std::vector<CoordinatorRecord>& records) const {
  const GroupOffsets* const offsets = group(group_id);
  if ((offsets != nullptr && offsets->contains(place)) || has_pending(group_id, place)) {
    records.push_back(offset_tombstone(key_of(group_id, place)));
  }
}

std::set<std::string> OffsetStore::group_ids() const {
  std::set<std::string> ids;
  for (const auto& [id, offsets] : groups_) {
    ids.insert(id);
  }
  for (const auto& [id, pending] : pending_of_) {
    ids.insert(id);
  }
  return ids;
}

std::vector<CoordinatorRecord> OffsetStore::expired(
    const std::string& group_id, int64_t idle_since_ms, int64_t retention_ms, int64_t now_ms,
    const std::function<bool(const std::string& topic)>& spared) const {
  std::vector<CoordinatorRecord> records;
  if (const GroupOffsets* offsets = group(group_id)) {
    for (const auto& [place, offset] : *offsets) {
      const int64_t end = offset.expire_ms >= 0
                              ? offset.expire_ms
                              : std::max(offset.commit_ms, idle_since_ms) + retention_ms;
      if (end <= now_ms && !has_pending(group_id, place) && !spared(place.first)) {
        records.push_back(offset_tombstone(key_of(group_id, place)));
      }
    }
  }
  return records;
}

}  // namespace klamm::broker
