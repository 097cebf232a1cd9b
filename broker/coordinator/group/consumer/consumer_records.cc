#include "broker/coordinator/group/consumer/consumer_records.h"

#include "broker/coordinator/group/member_records.h"
#include "protocol/generated/consumer_group_current_member_assignment_key.h"
#include "protocol/generated/consumer_group_current_member_assignment_value.h"
#include "protocol/generated/consumer_group_member_metadata_key.h"
#include "protocol/generated/consumer_group_metadata_key.h"
#include "protocol/generated/consumer_group_metadata_value.h"
#include "protocol/generated/consumer_group_partition_metadata_key.h"
#include "protocol/generated/consumer_group_regular_expression_key.h"
#include "protocol/generated/consumer_group_regular_expression_value.h"
#include "protocol/generated/consumer_group_target_assignment_member_key.h"
#include "protocol/generated/consumer_group_target_assignment_member_value.h"
#include "protocol/generated/consumer_group_target_assignment_metadata_key.h"
#include "protocol/generated/consumer_group_target_assignment_metadata_value.h"

namespace klamm::broker {

using namespace protocol;

namespace {

Bytes key_of(ConsumerRecord type, const std::string& group, const std::string& name) {
  switch (type) {
    case ConsumerRecord::kGroup: return group_key<ConsumerGroupMetadataKey>(type, group);
    case ConsumerRecord::kPartitionMetadata:
      return group_key<ConsumerGroupPartitionMetadataKey>(type, group);
    case ConsumerRecord::kTargetEpoch:
      return group_key<ConsumerGroupTargetAssignmentMetadataKey>(type, group);
    case ConsumerRecord::kMember:
      return member_key<ConsumerGroupMemberMetadataKey>(type, group, name);
    case ConsumerRecord::kTarget:
      return member_key<ConsumerGroupTargetAssignmentMemberKey>(type, group, name);
    case ConsumerRecord::kCurrent:
      return member_key<ConsumerGroupCurrentMemberAssignmentKey>(type, group, name);
    case ConsumerRecord::kRegex: {
      ConsumerGroupRegularExpressionKey key;
      key.group_id = group;
      key.regular_expression = name;
      return prefixed(static_cast<int16_t>(type), key, 0);
    }
  }
  return {};
}

template <class Value>
CoordinatorRecord record(ConsumerRecord type, const std::string& group, const std::string& name,
                         const Value& value) {
  return {key_of(type, group, name), prefixed(0, value, 0)};
}

std::vector<ConsumerGroupCurrentMemberAssignmentValue::TopicPartitions> listed(
    const OwnedPartitions& owned) {
  std::vector<ConsumerGroupCurrentMemberAssignmentValue::TopicPartitions> topics;
  for (const auto& [topic, partitions] : owned) {
    auto& out = topics.emplace_back();
    out.topic_id = topic;
    out.assignment_epochs.emplace();
    for (const auto& [partition, epoch] : partitions) {
      out.partitions.push_back(partition);
      out.assignment_epochs->push_back(epoch);
    }
  }
  return topics;
}

}  // namespace

CoordinatorRecord consumer_group_record(const std::string& group, int32_t epoch, int64_t hash) {
  ConsumerGroupMetadataValue value;
  value.epoch = epoch;
  value.metadata_hash = hash;
  return record(ConsumerRecord::kGroup, group, {}, value);
}

CoordinatorRecord consumer_member_record(const std::string& group, const ConsumerMember& member) {
  ConsumerGroupMemberMetadataValue value;
  value.instance_id = member.instance_id;
  value.rack_id = member.rack_id;
  value.client_id = member.client_id;
  value.client_host = member.client_host;
  value.subscribed_topic_names.assign(member.topics.begin(), member.topics.end());
  value.subscribed_topic_regex = member.regex;
  value.rebalance_timeout_ms = member.rebalance_timeout_ms;
  value.server_assignor = member.server_assignor;
  value.classic_member_metadata = member.classic;
  return record(ConsumerRecord::kMember, group, member.id, value);
}

CoordinatorRecord consumer_target_epoch_record(const std::string& group, int32_t epoch,
                                               int64_t assigned_at_ms) {
  ConsumerGroupTargetAssignmentMetadataValue value;
  value.assignment_epoch = epoch;
  value.assignment_timestamp = assigned_at_ms;
  return record(ConsumerRecord::kTargetEpoch, group, {}, value);
}

CoordinatorRecord consumer_target_record(const std::string& group, const std::string& member,
                                         const Assignment& target) {
  ConsumerGroupTargetAssignmentMemberValue value;
  list(target, value.topic_partitions);
  return record(ConsumerRecord::kTarget, group, member, value);
}

CoordinatorRecord consumer_current_record(const std::string& group, const ConsumerMember& member) {
  ConsumerGroupCurrentMemberAssignmentValue value;
  value.member_epoch = member.epoch;
  value.previous_member_epoch = member.previous_epoch;
  value.state = static_cast<int8_t>(member.state);
  value.assigned_partitions = listed(member.assigned);
  value.partitions_pending_revocation = listed(member.pending_revocation);
  return record(ConsumerRecord::kCurrent, group, member.id, value);
}

CoordinatorRecord consumer_regex_record(const std::string& group, const std::string& regex,
                                        const ResolvedRegex& resolved) {
  ConsumerGroupRegularExpressionValue value;
  value.topics.assign(resolved.topics.begin(), resolved.topics.end());
  value.version = resolved.version;
  value.timestamp = resolved.resolved_ms;
  return record(ConsumerRecord::kRegex, group, regex, value);
}

CoordinatorRecord consumer_tombstone(ConsumerRecord type, const std::string& group,
                                     const std::string& name) {
  return {key_of(type, group, name), std::nullopt};
}

void add_member_tombstones(const std::string& group, const std::string& member,
                           std::vector<CoordinatorRecord>& records) {
  for (const auto type :
       {ConsumerRecord::kCurrent, ConsumerRecord::kTarget, ConsumerRecord::kMember}) {
    records.push_back(consumer_tombstone(type, group, member));
  }
}

std::vector<CoordinatorRecord> consumer_group_tombstones(const ConsumerState& state) {
  std::vector<CoordinatorRecord> records;
  const auto of_members = [&](ConsumerRecord type) {
    for (const auto& [id, member] : state.members()) {
      records.push_back(consumer_tombstone(type, state.id(), id));
    }
  };
  of_members(ConsumerRecord::kCurrent);
  of_members(ConsumerRecord::kTarget);
  records.push_back(consumer_tombstone(ConsumerRecord::kTargetEpoch, state.id()));
  of_members(ConsumerRecord::kMember);
  for (const auto& [regex, resolved] : state.regexes()) {
    records.push_back(consumer_tombstone(ConsumerRecord::kRegex, state.id(), regex));
  }
  records.push_back(consumer_tombstone(ConsumerRecord::kPartitionMetadata, state.id()));
  records.push_back(consumer_tombstone(ConsumerRecord::kGroup, state.id()));
  return records;
}

}  // namespace klamm::broker
