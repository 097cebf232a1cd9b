#include "replication/controller/alter_partition.h"

#include <algorithm>

namespace klamm::replication {

using namespace protocol;

namespace {

using Asked = AlterPartitionRequest::PartitionData;
constexpr int16_t kVersionWithEpochs = 3;

std::vector<AlterPartitionRequest::BrokerState> wanted_isr(const Asked& asked, int16_t version) {
  if (version >= kVersionWithEpochs) {
    return asked.new_isr_with_epochs;
  }
  std::vector<AlterPartitionRequest::BrokerState> isr;
  for (const int32_t id : asked.new_isr) {
    isr.push_back({.broker_id = id});
  }
  return isr;
}

bool is_eligible(const MetadataImage& image, const AlterPartitionRequest::BrokerState& member) {
  const auto broker = image.brokers.find(member.broker_id);
  return broker != image.brokers.end() && is_active(broker->second) &&
         (member.broker_epoch == -1 || member.broker_epoch == broker->second.epoch);
}

ErrorCode check(const MetadataImage& image, int32_t broker, const PartitionImage& partition,
                const Asked& asked, const std::vector<AlterPartitionRequest::BrokerState>& isr) {
  if (asked.leader_epoch > partition.leader_epoch ||
      asked.partition_epoch > partition.partition_epoch) {
    return ErrorCode::kNotController;
  }
  if (asked.leader_epoch < partition.leader_epoch) {
    return ErrorCode::kFencedLeaderEpoch;
  }
  if (partition.leader != broker) {
    return ErrorCode::kInvalidRequest;
  }
  if (asked.partition_epoch < partition.partition_epoch) {
    return ErrorCode::kInvalidUpdateVersion;
  }
  bool has_leader = false;
  for (const auto& member : isr) {
    has_leader = has_leader || member.broker_id == broker;
    if (std::find(partition.replicas.begin(), partition.replicas.end(), member.broker_id) ==
        partition.replicas.end()) {
      return ErrorCode::kInvalidRequest;
    }
  }
  if (!has_leader || (asked.leader_recovery_state == 1 && isr.size() > 1)) {
    return ErrorCode::kInvalidRequest;
  }
  const bool all_eligible = std::all_of(
      isr.begin(), isr.end(), [&](const auto& member) { return is_eligible(image, member); });
  return all_eligible ? ErrorCode::kNone : ErrorCode::kIneligibleReplica;
}

}  // namespace

AlteredPartitions alter_partitions(const MetadataImage& image, const AlterPartitionRequest& request,
                                   int16_t version) {
  AlteredPartitions altered;
  const auto broker = image.brokers.find(request.broker_id);
  if (broker == image.brokers.end() || broker->second.epoch != request.broker_epoch) {
    altered.response.error_code = ErrorCode::kStaleBrokerEpoch;
    return altered;
  }
  for (const auto& topic : request.topics) {
    auto& out = altered.response.topics.emplace_back();
    out.topic_id = topic.topic_id;
    const auto known = image.topic(topic.topic_id);
    for (const auto& asked : topic.partitions) {
      auto& result = out.partitions.emplace_back();
      result.partition_index = asked.partition_index;
      if (known == nullptr || !known->partitions.contains(asked.partition_index)) {
        result.error_code =
            known == nullptr ? ErrorCode::kUnknownTopicId : ErrorCode::kUnknownTopicOrPartition;
        continue;
      }
      const PartitionImage& partition = known->partitions.at(asked.partition_index);
      const auto members = wanted_isr(asked, version);
      result.error_code = check(image, request.broker_id, partition, asked, members);
      if (result.error_code != ErrorCode::kNone) {
        continue;
      }
      std::vector<int32_t> isr;
      for (const auto& member : members) {
        isr.push_back(member.broker_id);
      }
      PartitionChange change(image, *known, asked.partition_index);
      change.set_isr(std::move(isr));
      if (asked.leader_recovery_state == 0) {
        change.set_recovered();
      }
      auto record = change.build();
      if (change.leader() != request.broker_id) {
        // The ISR completed a reassignment that leaves the asker out.
        result.error_code = ErrorCode::kNewLeaderElected;
        altered.records.push_back(std::move(*record));
        continue;
      }
      result.leader_id = partition.leader;
      result.leader_epoch = partition.leader_epoch + (change.begins_epoch() ? 1 : 0);
      result.isr = change.isr();
      result.leader_recovery_state = asked.leader_recovery_state;
      result.partition_epoch = partition.partition_epoch + (record ? 1 : 0);
      if (record) {
        altered.records.push_back(std::move(*record));
      }
    }
  }
  return altered;
}

}  // namespace klamm::replication
