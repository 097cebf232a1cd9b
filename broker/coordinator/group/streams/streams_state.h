#pragma once
// What the records of a streams group say (KIP-1071): its topology, who is in it, what each member
// shall run and what it runs. Changes only by its records (types 17 and 19-23 of
// __consumer_offsets).
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "broker/coordinator/group/group.h"
#include "broker/coordinator/group/streams/tasks.h"
#include "protocol/generated/streams_group_topology_value.h"

namespace klamm::broker {

enum class StreamsMemberState : int8_t {
  kStable = 1,
  kUnrevokedTasks = 2,   // has to give some back before it goes on
  kUnreleasedTasks = 3,  // waits for some that others have not given back
  kUnknown = 127         // written by a coordinator that knows more
};

struct StreamsMember {
  struct Endpoint {
    std::string host;
    uint16_t port = 0;
    bool operator==(const Endpoint&) const = default;
  };

  std::string id;
  int32_t epoch = 0;
  int32_t previous_epoch = 0;
  StreamsMemberState state = StreamsMemberState::kStable;
  std::optional<std::string> instance_id;
  std::optional<std::string> rack_id;
  std::string client_id;
  std::string client_host;
  int32_t rebalance_timeout_ms = -1;
  int32_t topology_epoch = -1;
  std::string process_id;  // of the members that share the state on a machine's disk
  std::optional<Endpoint> endpoint;
  std::map<std::string, std::string> client_tags;
  OwnedTasks assigned;
  OwnedTasks pending_revocation;

  bool operator==(const StreamsMember&) const = default;
  // Whether all but epochs and tasks is the same.
  bool same_metadata(const StreamsMember& other) const;
  void move_to_epoch(int32_t next) {
    previous_epoch = epoch;
    epoch = next;
  }
};

// What a member says of itself, as its record and its description have it.
template <class Out>
void put_origin(const StreamsMember& member, Out& out) {
  out.instance_id = member.instance_id;
  out.rack_id = member.rack_id;
  out.client_id = member.client_id;
  out.client_host = member.client_host;
  out.topology_epoch = member.topology_epoch;
  out.process_id = member.process_id;
  if (member.endpoint) {
    out.user_endpoint.emplace();
    out.user_endpoint->host = member.endpoint->host;
    out.user_endpoint->port = member.endpoint->port;
  }
  for (const auto& [key, value] : member.client_tags) {
    out.client_tags.push_back({.key = key, .value = value});
  }
}

using Topology = protocol::StreamsGroupTopologyValue;
using TopologyPtr = std::shared_ptr<const Topology>;

// What the group's target was computed with, as its record keeps it.
using AssignmentConfigs = std::map<std::string, std::string>;

class StreamsState {
 public:
  explicit StreamsState(std::string group_id) : id_(std::move(group_id)) {}

  // Takes over a record of this group; one that is malformed changes nothing.
  void apply(const CoordinatorRecord& record);
  bool operator==(const StreamsState& other) const;

  const std::string& id() const { return id_; }
  int32_t epoch() const { return epoch_; }
  int64_t metadata_hash() const { return metadata_hash_; }
  // The epoch of the topology whose topics were all there; -1: they were not.
  int32_t validated_topology_epoch() const { return validated_topology_epoch_; }
  const AssignmentConfigs& assignment_configs() const { return assignment_configs_; }
  int32_t assignment_epoch() const { return assignment_epoch_; }
  int64_t assigned_at_ms() const { return assigned_at_ms_; }
  // Null until the first member has brought it.
  const TopologyPtr& topology() const { return topology_; }
  using MemberPtr = std::shared_ptr<const StreamsMember>;
  const std::map<std::string, MemberPtr>& members() const { return *members_; }
  // Null when there is no such member.
  const StreamsMember* member(const std::string& member_id) const;
  const StreamsMember* static_member(const std::string& instance_id) const;
  // What the member shall run; nothing when that was not decided.
  const TaskSets& target(const std::string& member_id) const;
  bool has_target(const std::string& member_id) const { return targets_->contains(member_id); }
  bool is_stable_at(const StreamsMember& member, int32_t epoch) const {
    return member.state == StreamsMemberState::kStable && member.epoch == epoch;
  }

 private:
  StreamsMember& change(const std::string& member_id);
  void apply_group(const CoordinatorRecord& record);
  void apply_member(const CoordinatorRecord& record);
  void apply_target(const CoordinatorRecord& record);
  void apply_current(const CoordinatorRecord& record);

  std::string id_;
  int32_t epoch_ = 1;  // both until a record says otherwise
  int32_t assignment_epoch_ = 1;
  int64_t metadata_hash_ = 0;
  int32_t validated_topology_epoch_ = 0;
  AssignmentConfigs assignment_configs_;
  int64_t assigned_at_ms_ = 0;
  TopologyPtr topology_;
  Shared<std::map<std::string, MemberPtr>> members_;
  Shared<std::map<std::string, TaskSets>> targets_;
};

enum class StreamsRecord : int16_t {
  kGroup = 17,
  kMember = 19,
  kTargetEpoch = 20,
  kTarget = 21,
  kCurrent = 22,
  kTopology = 23
};

struct StreamsGroupEpoch {
  int32_t epoch;
  int64_t metadata_hash;
  int32_t validated_topology_epoch;
  AssignmentConfigs configs;
};

CoordinatorRecord streams_group_record(const std::string& group, const StreamsGroupEpoch& epoch);
CoordinatorRecord streams_member_record(const std::string& group, const StreamsMember& member);
CoordinatorRecord streams_target_epoch_record(const std::string& group, int32_t epoch,
                                              int64_t assigned_at_ms);
CoordinatorRecord streams_target_record(const std::string& group, const std::string& member,
                                        const TaskSets& target);
CoordinatorRecord streams_current_record(const std::string& group, const StreamsMember& member);
CoordinatorRecord streams_topology_record(const std::string& group, const Topology& topology);
// `name` is that of the member, where the type has one.
CoordinatorRecord streams_tombstone(StreamsRecord type, const std::string& group,
                                    const std::string& name = {});

}  // namespace klamm::broker
