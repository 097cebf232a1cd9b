#pragma once
// The committed offsets of the groups of one coordinator partition, and those that wait for the end
// of a transaction (KIP-98, 447). Changes only by replay.
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
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
  int64_t record_offset = -1;  // the later one counts
};

class OffsetStore {
 public:
  using Place = std::pair<std::string, int32_t>;  // topic, partition
  using GroupOffsets = std::map<Place, CommittedOffset>;

  void replay(const ParsedOffset& record, RecordPlace place);
  // What the producer has pending is committed, or forgotten.
  void end_transaction(int64_t producer_id, bool commits);
  // Null when the group has committed nothing.
  const GroupOffsets* group(const std::string& group_id) const;
  // Of all that have offsets, committed or pending.
  std::set<std::string> group_ids() const;
  bool knows(const std::string& group_id) const {
    return groups_.contains(group_id) || pending_of_.contains(group_id);
  }
  bool has_pending(const std::string& group_id, const Place& place) const;
  bool has_pending(const std::string& group_id) const { return pending_of_.contains(group_id); }
  // Tombstones for every offset of the group, committed or pending.
  std::vector<CoordinatorRecord> tombstones(const std::string& group_id) const;
  // One for a place, if there is an offset, committed or pending.
  void add_tombstone(const std::string& group_id, const Place& place,
                     std::vector<CoordinatorRecord>& records) const;
  // Tombstones for what has expired: offsets older than `retention_ms`, counted from the commit or,
  // if that is later, from `idle_since_ms`. Not for what a transaction is about to change, nor for
  // topics that `spared` names.
  std::vector<CoordinatorRecord> expired(
      const std::string& group_id, int64_t idle_since_ms, int64_t retention_ms, int64_t now_ms,
      const std::function<bool(const std::string& topic)>& spared) const;

 private:
  void remove_pending(const std::string& group_id, const Place& place);
  void forget_pending(const std::string& group_id, const Place& place, int64_t producer_id);

  std::map<std::string, GroupOffsets> groups_;
  std::map<int64_t, std::map<std::string, GroupOffsets>> pending_;  // by producer
  std::map<std::string, std::map<Place, std::set<int64_t>>> pending_of_;
};

}  // namespace klamm::broker
