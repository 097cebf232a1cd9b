#pragma once
// The committed offsets of the groups of one coordinator partition. Changes only by replay.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "broker/coordinator/group/records.h"
#include "protocol/base/uuid.h"

namespace klamm::broker {

struct CommittedOffset {
  int64_t offset = -1;
  int32_t leader_epoch = -1;
  std::string metadata;
  int64_t commit_ms = -1;
  int64_t expire_ms = -1;  // -1: by the broker's retention
  protocol::Uuid topic_id;
};

class OffsetStore {
 public:
  using Place = std::pair<std::string, int32_t>;  // topic, partition
  using GroupOffsets = std::map<Place, CommittedOffset>;

  void replay(const ParsedOffset& record);
  // Null when the group has committed nothing.
  const GroupOffsets* group(const std::string& group_id) const;
  const std::map<std::string, GroupOffsets>& groups() const { return groups_; }
  // Tombstones for every offset of the group.
  std::vector<CoordinatorRecord> tombstones(const std::string& group_id) const;
  // Tombstones for what has expired: offsets older than `retention_ms`, counted from the commit or,
  // if that is later, from `idle_since_ms`.
  std::vector<CoordinatorRecord> expired(const std::string& group_id, int64_t idle_since_ms,
                                         int64_t retention_ms, int64_t now_ms) const;

 private:
  std::map<std::string, GroupOffsets> groups_;
};

}  // namespace klamm::broker
