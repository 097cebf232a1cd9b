#pragma once
// The group coordinator of the __consumer_offsets partitions that one shard of the node owns: finds
// the state of a group and keeps its timer armed.
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/config/broker_config.h"
#include "broker/coordinator/runtime.h"

namespace klamm::broker {

class GroupShard;
struct GroupShardConfig;
struct GroupSurroundings;

inline constexpr const char* kOffsetsTopic = "__consumer_offsets";

class GroupCoordinator {
 public:
  GroupCoordinator(const BrokerConfig& config, Replicas& replicas, Timers& timers,
                   const storage::Clock& clock, GroupSurroundings surroundings);
  ~GroupCoordinator();

  // The partition that coordinates a group. INVALID_GROUP_ID for an empty id,
  // COORDINATOR_NOT_AVAILABLE while there is no topic.
  static Result<int32_t> partition_of(const std::string& group_id,
                                      const replication::TopicImage* topic);
  // Calls `use` with the groups of a partition, or with the reason of CoordinatorRuntime::shard.
  void with(int32_t partition, const std::function<void(Result<GroupShard*>)>& use);
  // Leaders have changed: what this node coordinates no longer is let go.
  void drop_lost() { runtime_.drop_lost(); }
  // A transaction's marker has been appended to a partition.
  void on_marker(int32_t partition, int64_t producer_id, bool commits) {
    runtime_.on_marker(partition, producer_id, commits);
  }
  // Visits the groups of every partition that this shard of the node coordinates.
  void for_each(const std::function<void(GroupShard&)>& visit);
  // Whether group.coordinator.rebalance.protocols has the protocol.
  bool serves(std::string_view protocol) const;
  // The time that its groups go by. A wall clock that jumps (a machine that slept, say) ends no
  // session.
  int64_t now_ms() const { return clock_.wall_ms(); }
  int64_t metadata_size_max() const { return metadata_size_max_; }

 private:
  std::unique_ptr<const GroupShardConfig> config_;
  int64_t metadata_size_max_;
  std::vector<std::string> protocols_;
  storage::SteadyClock clock_;
  CoordinatorRuntime runtime_;
};

}  // namespace klamm::broker
