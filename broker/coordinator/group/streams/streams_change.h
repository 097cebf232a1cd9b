#pragma once
// One heartbeat of a streams group's member on its way to records (KIP-1071): the member comes or
// says something new, the topology is compared with the topics that there are, the group's epoch
// rises, a target is computed, the member takes a step towards it.
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/coordinator/group/assignment/metadata_hash.h"
#include "broker/coordinator/group/streams/streams_state.h"
#include "broker/coordinator/group/streams/topology.h"
#include "protocol/generated/streams_group_heartbeat_request.h"

namespace klamm::broker {

using StreamsDraft = Draft<StreamsState>;
using ConfiguredPtr = std::shared_ptr<const ConfiguredTopology>;

// What is configured for one group.
struct StreamsSettings {
  int32_t session_timeout_ms = 45'000;
  std::optional<int32_t> heartbeat_interval_ms;  // nullopt: by the group's size
  int32_t assignment_interval_ms = 0;
  int32_t initial_rebalance_delay_ms = 3'000;
  int32_t standby_replicas = 0;
  std::vector<std::string> rack_tags;  // that members must have
  int32_t task_offset_interval_ms = 60'000;
  int64_t acceptable_recovery_lag = 10'000;
  size_t members_max = INT32_MAX;
};

struct StreamsContext {
  const replication::MetadataImage& image;
  MetadataHash& hashes;
  const StreamsSettings& settings;
  int64_t now_ms = 0;
  // The topology as it was configured last, if topics have not changed since.
  ConfiguredPtr configured;
  bool is_delayed = false;  // the first assignment waits for more members
};

// Why the member's tasks are not what they might be, in the order in which it is told.
using StreamsProblems = std::vector<ConfiguredTopology::Problem>;

class StreamsChange {
 public:
  using Request = protocol::StreamsGroupHeartbeatRequest;

  StreamsChange(StreamsDraft& draft, const StreamsContext& context)
      : draft_(draft), context_(context), configured_(context.configured) {}

  // The member that speaks, as it is now; a static one takes the place of its former life.
  // GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, FENCED_INSTANCE_ID,
  // UNRELEASED_INSTANCE_ID.
  Result<StreamsMember> find_member(const Request& request);
  // Takes over what the member says of itself and of the topology, and raises the group's epoch if
  // that or the topics make it necessary. INVALID_REQUEST, STREAMS_INVALID_TOPOLOGY.
  Result<> update(const StreamsMember& before, const StreamsMember& after, const Request& request);
  // Computes the target of the newest epoch, unless it is too early.
  void assign();
  // The member's next step towards its target. FENCED_MEMBER_EPOCH.
  Result<StreamsMember> step(const StreamsMember& member, const Request& request);
  // Takes members out.
  void remove(const std::set<std::string>& member_ids);

  // Known after update(), if not before.
  const ConfiguredPtr& configured() const { return configured_; }
  // Of this heartbeat, but for those that the group has in memory.
  const StreamsProblems& problems() const { return problems_; }

 private:
  Result<StreamsMember> find_static(const Request& request);
  Result<> check_epoch(const StreamsMember& member, const Request& request) const;
  Result<> take_topology(const StreamsMember& member, const Request& request);
  Result<> check_tasks(const Request& request) const;
  void raise_epoch(bool is_needed, int64_t hash);
  std::map<std::string, TaskSets> compute() const;

  StreamsDraft& draft_;
  const StreamsContext& context_;
  ConfiguredPtr configured_;
  StreamsProblems problems_;
};

// The tasks that a member reports; nullopt when it reports none of any kind.
std::optional<TaskSets> reported_tasks(const protocol::StreamsGroupHeartbeatRequest& request);

}  // namespace klamm::broker
