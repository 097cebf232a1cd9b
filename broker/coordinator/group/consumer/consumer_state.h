#pragma once
// What the records of a consumer group say (KIP-848): who is in it, what each member shall have
// and what it has. Changes only by its records. Copying is cheap: members and targets are shared.
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/coordinator/group/assignment/assignor.h"
#include "broker/coordinator/group/group.h"
#include "protocol/generated/consumer_group_member_metadata_value.h"

namespace klamm::broker {

// Partitions of one topic with the member epoch at which each was assigned.
using PartitionEpochs = SortedMap<int32_t, int32_t>;
using OwnedPartitions = std::map<Uuid, PartitionEpochs>;

enum class MemberState : int8_t {
  kStable = 0,
  kUnrevokedPartitions = 1,   // has to give some back before it goes on
  kUnreleasedPartitions = 2,  // waits for some that others have not given back
  kUnknown = 127              // written by a coordinator that knows more
};

constexpr int32_t kJoinEpoch = 0;
constexpr int32_t kLeaveEpoch = -1;
constexpr int32_t kLeaveStaticEpoch = -2;  // a static member that will be back

struct ConsumerMember {
  using ClassicMetadata = protocol::ConsumerGroupMemberMetadataValue::ClassicMemberMetadata;

  std::string id;
  int32_t epoch = 0;
  int32_t previous_epoch = -1;
  MemberState state = MemberState::kStable;
  std::optional<std::string> instance_id;
  std::optional<std::string> rack_id;
  std::string client_id;
  std::string client_host;
  int32_t rebalance_timeout_ms = -1;
  std::set<std::string> topics;
  std::string regex;  // empty: none
  std::optional<std::string> server_assignor;
  OwnedPartitions assigned;
  OwnedPartitions pending_revocation;
  std::optional<ClassicMetadata> classic;  // it speaks the classic protocol

  bool operator==(const ConsumerMember&) const = default;
  // Whether all but epochs and partitions is the same.
  bool same_metadata(const ConsumerMember& other) const;
  void move_to_epoch(int32_t next) {
    previous_epoch = epoch;
    epoch = next;
  }
};

struct ResolvedRegex {
  std::set<std::string> topics;
  int64_t version = 0;  // of the metadata that it was compared with
  int64_t resolved_ms = 0;
  bool operator==(const ResolvedRegex&) const = default;
};

class ConsumerState {
 public:
  explicit ConsumerState(std::string group_id) : id_(std::move(group_id)) {}

  // Takes over a record of this group; one that is malformed changes nothing.
  void apply(const CoordinatorRecord& record);
  bool operator==(const ConsumerState& other) const;

  const std::string& id() const { return id_; }
  int32_t epoch() const { return epoch_; }
  int64_t metadata_hash() const { return metadata_hash_; }
  int32_t assignment_epoch() const { return assignment_epoch_; }
  int64_t assigned_at_ms() const { return assigned_at_ms_; }
  bool has_partition_metadata() const { return has_partition_metadata_; }
  using MemberPtr = std::shared_ptr<const ConsumerMember>;
  const std::map<std::string, MemberPtr>& members() const { return *members_; }
  const std::map<std::string, ResolvedRegex>& regexes() const { return *regexes_; }
  // Null when there is no such member.
  const ConsumerMember* member(const std::string& member_id) const;
  const ConsumerMember* static_member(const std::string& instance_id) const;
  // What the member shall have; empty when nothing was decided for it.
  const Assignment& target(const std::string& member_id) const;
  bool has_target(const std::string& member_id) const { return targets_->contains(member_id); }
  // How many members follow the regular expression.
  size_t readers_of(const std::string& regex) const;
  // The topics of all members, named or matched.
  std::set<std::string> subscribed_topics() const;
  std::set<std::string> topics_of(const ConsumerMember& member) const;
  // Whether the partition is somebody's, but not only waiting to be given back by `except`.
  bool is_owned(const Uuid& topic, int32_t partition, const ConsumerMember& except) const;
  bool is_stable_at_target(const ConsumerMember& member) const {
    return member.state == MemberState::kStable && member.epoch == assignment_epoch_;
  }
  bool all_classic_without(const std::set<std::string>& leaving) const;

 private:
  ConsumerMember& change(const std::string& member_id);

  std::string id_;
  int32_t epoch_ = 1;  // both until a record says otherwise
  int64_t metadata_hash_ = 0;
  int32_t assignment_epoch_ = 1;
  int64_t assigned_at_ms_ = 0;
  bool has_partition_metadata_ = false;  // left by Kafka before 4.1
  Shared<std::map<std::string, MemberPtr>> members_;
  Shared<std::map<std::string, std::shared_ptr<const Assignment>>> targets_;
  Shared<std::map<std::string, ResolvedRegex>> regexes_;
};

}  // namespace klamm::broker
