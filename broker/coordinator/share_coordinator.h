#pragma once
// The share coordinator of the __share_group_state partitions that one shard of the node owns.
#include <functional>
#include <memory>
#include <string>

#include "broker/config/broker_config.h"
#include "broker/coordinator/runtime.h"

namespace klamm::broker {

class ShareStateShard;
struct ShareStateConfig;

inline constexpr const char* kShareTopic = "__share_group_state";

class ShareCoordinator {
 public:
  ShareCoordinator(const BrokerConfig& config, Replicas& replicas, Timers& timers,
                   const storage::Clock& clock);
  ~ShareCoordinator();

  // The partition that holds the state of a key (SharePartitionKey::text).
  // COORDINATOR_NOT_AVAILABLE while there is no topic.
  static Result<int32_t> partition_of(const std::string& key, const replication::TopicImage* topic);
  // Calls `use` with the states of a partition, or with the reason of CoordinatorRuntime::shard.
  void with(int32_t partition, const std::function<void(Result<ShareStateShard*>)>& use);
  // Leaders have changed: what this node coordinates no longer is let go.
  void drop_lost() { runtime_.drop_lost(); }
  // Deletes the records that snapshots have made useless; the topic is not compacted.
  void prune();

 private:
  std::unique_ptr<const ShareStateConfig> config_;
  Replicas& replicas_;
  const storage::Clock& clock_;
  CoordinatorRuntime runtime_;
};

}  // namespace klamm::broker
