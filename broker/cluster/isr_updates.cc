#include "broker/cluster/isr_updates.h"

namespace klamm::broker {

using namespace protocol;
using replication::IsrProposal;

void IsrUpdates::propose(IsrProposal proposal) {
  const Key key{proposal.topic_id, proposal.partition};
  waiting_[key] = std::move(proposal);
  send();
}

void IsrUpdates::send() {
  if (asking_ || waiting_.empty()) {
    return;
  }
  auto asked = std::exchange(waiting_, {});
  AlterPartitionRequest request;
  request.broker_id = broker_;
  request.broker_epoch = broker_epoch_();
  for (const auto& [key, proposal] : asked) {
    if (request.topics.empty() || request.topics.back().topic_id != key.first) {
      request.topics.push_back({.topic_id = key.first});
    }
    auto& partition = request.topics.back().partitions.emplace_back();
    partition.partition_index = key.second;
    partition.leader_epoch = proposal.leader_epoch;
    partition.partition_epoch = proposal.partition_epoch;
    partition.leader_recovery_state = proposal.recovery_state;
    partition.new_isr_with_epochs = proposal.isr;
  }
  asking_ = true;
  channel_.ask<AlterPartitionResponse>(
      std::move(request),
      [this, asked = std::move(asked)](const Result<AlterPartitionResponse>& answer) {
        asking_ = false;
        on_answer(asked, answer);
        send();
      });
}

void IsrUpdates::on_answer(const std::map<Key, IsrProposal>& asked,
                           const Result<AlterPartitionResponse>& answer) {
  std::map<Key, IsrVerdict> verdicts;
  for (const auto& [key, proposal] : asked) {
    verdicts[key] = {.topic_id = key.first,
                     .partition = key.second,
                     .code = !answer ? answer.error().code
                             : answer->error_code != ErrorCode::kNone
                                 ? answer->error_code
                                 : ErrorCode::kUnknownServerError,
                     .leader_epoch = proposal.leader_epoch};
  }
  if (answer) {
    for (const auto& topic : answer->topics) {
      for (const auto& partition : topic.partitions) {
        const auto found = verdicts.find({topic.topic_id, partition.partition_index});
        if (found != verdicts.end()) {
          found->second.code = partition.error_code;
          found->second.isr = partition.isr;
          found->second.partition_epoch = partition.partition_epoch;
        }
      }
    }
  }
  for (auto& [key, verdict] : verdicts) {
    tell_(std::move(verdict));
  }
}

}  // namespace klamm::broker
