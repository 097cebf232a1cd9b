#pragma once
// The group coordinator as handlers see it: finds the shard of a group and keeps its timer armed.
#include <functional>
#include <string>

#include "broker/coordinator/group/group_shard.h"
#include "broker/coordinator/runtime.h"

namespace klamm::broker {

inline constexpr const char* kOffsetsTopic = "__consumer_offsets";

class GroupCoordinator {
 public:
  GroupCoordinator(const BrokerConfig& config, Replicas& replicas, Timers& timers,
                   const storage::Clock& clock, storage::Random& random,
                   std::function<int32_t()> partition_count);

  // Calls `use` with the shard of the group. INVALID_GROUP_ID for an empty id,
  // COORDINATOR_NOT_AVAILABLE or NOT_COORDINATOR when the group is not served here.
  Result<> with(const std::string& group_id,
                const std::function<void(GroupShard& shard, int64_t now_ms)>& use);
  void for_each(const std::function<void(GroupShard&)>& visit);
  int64_t metadata_size_max() const { return metadata_size_max_; }

 private:
  const storage::Clock& clock_;
  std::function<int32_t()> partition_count_;  // of __consumer_offsets; 0: not there yet
  GroupShardConfig config_;
  int64_t metadata_size_max_;
  CoordinatorRuntime runtime_;
};

}  // namespace klamm::broker
