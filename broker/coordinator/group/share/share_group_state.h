#pragma once
// What the records of a share group say (KIP-932): its members, what each shall read, and which
// partitions the share coordinator keeps state of. Changes only by its records (types 10-15 of
// __consumer_offsets).
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/coordinator/group/assignment/assignor.h"
#include "broker/coordinator/group/group.h"

namespace klamm::broker {

struct ShareMember {
  std::string id;
  int32_t epoch = 0;
  int32_t previous_epoch = -1;
  std::optional<std::string> rack_id;
  std::string client_id;
  std::string client_host;
  std::set<std::string> topics;
  Assignment assigned;

  bool operator==(const ShareMember&) const = default;
  bool same_metadata(const ShareMember& other) const {
    return rack_id == other.rack_id && client_id == other.client_id &&
           client_host == other.client_host && topics == other.topics;
  }
};

// Partitions of a topic, with the name that it had.
struct NamedPartitions {
  std::string name;
  SortedSet<int32_t> partitions;
  bool operator==(const NamedPartitions&) const = default;
};

// Of which partitions the share coordinator keeps state.
struct SharedPartitions {
  std::map<Uuid, NamedPartitions> initializing;
  std::map<Uuid, NamedPartitions> initialized;
  std::map<Uuid, std::string> deleting;
  bool operator==(const SharedPartitions&) const = default;
};

class ShareGroupState {
 public:
  explicit ShareGroupState(std::string group_id) : id_(std::move(group_id)) {}

  // Takes over a record of this group; one that is malformed changes nothing.
  void apply(const CoordinatorRecord& record);
  bool operator==(const ShareGroupState& other) const;

  const std::string& id() const { return id_; }
  int32_t epoch() const { return epoch_; }
  int64_t metadata_hash() const { return metadata_hash_; }
  int32_t assignment_epoch() const { return assignment_epoch_; }
  int64_t assigned_at_ms() const { return assigned_at_ms_; }
  const std::map<std::string, ShareMember>& members() const { return *members_; }
  const ShareMember* member(const std::string& member_id) const;
  const Assignment& target(const std::string& member_id) const;
  bool has_target(const std::string& member_id) const { return targets_->contains(member_id); }
  const SharedPartitions& shared() const { return *shared_; }
  std::set<std::string> subscribed_topics() const;
  // Whether initialized partitions of subscribed topics are nobody's target.
  bool has_unassigned() const;

 private:
  void apply_current(const CoordinatorRecord& record);

  std::string id_;
  int32_t epoch_ = 1;  // both until a record says otherwise
  int64_t metadata_hash_ = 0;
  int32_t assignment_epoch_ = 1;
  int64_t assigned_at_ms_ = 0;
  Shared<std::map<std::string, ShareMember>> members_;
  Shared<std::map<std::string, Assignment>> targets_;
  Shared<SharedPartitions> shared_;
};

enum class ShareRecord : int16_t {
  kMember = 10,
  kGroup = 11,
  kTargetEpoch = 12,
  kTarget = 13,
  kCurrent = 14,
  kPartitions = 15
};

CoordinatorRecord share_member_record(const std::string& group, const ShareMember& member);
CoordinatorRecord share_group_record(const std::string& group, int32_t epoch, int64_t hash);
CoordinatorRecord share_target_epoch_record(const std::string& group, int32_t epoch,
                                            int64_t assigned_at_ms);
CoordinatorRecord share_target_record(const std::string& group, const std::string& member,
                                      const Assignment& target);
CoordinatorRecord share_current_record(const std::string& group, const ShareMember& member);
CoordinatorRecord share_partitions_record(const std::string& group, const SharedPartitions& shared);
// `name` is that of the member, where the type has one.
CoordinatorRecord share_tombstone(ShareRecord type, const std::string& group,
                                  const std::string& name = {});

}  // namespace klamm::broker
