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

void OffsetStore::replay(const ParsedOffset& record) {
  const Place place{record.key.topic, record.key.partition};
  if (!record.value) {
    if (const auto group = groups_.find(record.key.group); group != groups_.end()) {
      group->second.erase(place);
      if (group->second.empty()) {
        groups_.erase(group);
      }
    }
    return;
  }
  groups_[record.key.group][place] = {
      record.value->offset,           record.value->leader_epoch,     record.value->metadata,
      record.value->commit_timestamp, record.value->expire_timestamp, record.value->topic_id};
}

const OffsetStore::GroupOffsets* OffsetStore::group(const std::string& group_id) const {
  const auto found = groups_.find(group_id);
  return found == groups_.end() ? nullptr : &found->second;
}

std::vector<CoordinatorRecord> OffsetStore::tombstones(const std::string& group_id) const {
  std::vector<CoordinatorRecord> records;
  if (const GroupOffsets* offsets = group(group_id)) {
    for (const auto& [place, offset] : *offsets) {
      records.push_back(offset_tombstone(key_of(group_id, place)));
    }
  }
  return records;
}

std::vector<CoordinatorRecord> OffsetStore::expired(const std::string& group_id,
                                                    int64_t idle_since_ms, int64_t retention_ms,
                                                    int64_t now_ms) const {
  std::vector<CoordinatorRecord> records;
  if (const GroupOffsets* offsets = group(group_id)) {
    for (const auto& [place, offset] : *offsets) {
      const int64_t end = offset.expire_ms >= 0
                              ? offset.expire_ms
                              : std::max(offset.commit_ms, idle_since_ms) + retention_ms;
      if (end <= now_ms) {
        records.push_back(offset_tombstone(key_of(group_id, place)));
      }
    }
  }
  return records;
}

}  // namespace klamm::broker
