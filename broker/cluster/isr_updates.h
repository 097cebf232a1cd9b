#pragma once
// Carries the ISR proposals of all shards' leaders to the controller: one AlterPartition on its
// way, what comes meanwhile goes with the next. Lives on the controller's shard.
#include <functional>
#include <map>

#include "broker/cluster/controller_channel.h"
#include "replication/partition/partition.h"

namespace klamm::broker {

struct IsrVerdict {
  protocol::Uuid topic_id;
  int32_t partition = 0;
  ErrorCode code = ErrorCode::kNone;
  int32_t leader_epoch = 0;  // of the proposal
  std::vector<int32_t> isr;
  int32_t partition_epoch = 0;
};

class IsrUpdates {
 public:
  IsrUpdates(ControllerChannel& channel, int32_t broker, std::function<int64_t()> broker_epoch,
             std::function<void(IsrVerdict)> tell)
      : channel_(channel),
        broker_(broker),
        broker_epoch_(std::move(broker_epoch)),
        tell_(std::move(tell)) {}
  void propose(replication::IsrProposal proposal);

 private:
  using Key = std::pair<protocol::Uuid, int32_t>;
  void send();
  void on_answer(const std::map<Key, replication::IsrProposal>& asked,
                 const Result<protocol::AlterPartitionResponse>& answer);

  ControllerChannel& channel_;
  int32_t broker_;
  std::function<int64_t()> broker_epoch_;
  std::function<void(IsrVerdict)> tell_;
  std::map<Key, replication::IsrProposal> waiting_;
  bool asking_ = false;
};

}  // namespace klamm::broker
