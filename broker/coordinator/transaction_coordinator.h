#pragma once
// The transaction coordinator of the __transaction_state partitions that one shard of the node
// owns. They are loaded as soon as this node leads them: what an earlier coordinator has begun to
// end waits for nobody's request.
#include <functional>
#include <string>

#include "broker/coordinator/runtime.h"
#include "broker/coordinator/transaction/transaction_shard.h"

namespace klamm::broker {

inline constexpr const char* kTransactionsTopic = "__transaction_state";

class TransactionCoordinator {
 public:
  TransactionCoordinator(const BrokerConfig& config, Replicas& replicas, Timers& timers,
                         const storage::Clock& clock, TransactionOutput& output);

  // The partition that coordinates a transactional id. COORDINATOR_NOT_AVAILABLE while there is no
  // topic.
  static Result<int32_t> partition_of(const std::string& transactional_id,
                                      const replication::TopicImage* topic);
  // Calls `use` with the transactions of a partition, or with the reason of
  // CoordinatorRuntime::shard.
  void with(int32_t partition, const std::function<void(Result<TransactionShard*>)>& use);
  // The shards can reach each other: loads what this node coordinates, and from now on as soon as
  // it does.
  void start();
  // Leaders have changed: lets go what this node coordinates no longer.
  void follow_leaders();
  // Visits the transactions of every partition that this shard of the node coordinates.
  void for_each(const std::function<void(TransactionShard&)>& visit);

 private:
  TransactionConfig config_;
  CoordinatorRuntime runtime_;
  bool started_ = false;
};

}  // namespace klamm::broker
