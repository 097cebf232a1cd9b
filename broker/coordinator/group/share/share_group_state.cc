#include "broker/coordinator/group/share/share_group_state.h"

#include <algorithm>

#include "broker/coordinator/group/member_records.h"
#include "protocol/generated/share_group_current_member_assignment_key.h"
#include "protocol/generated/share_group_current_member_assignment_value.h"
#include "protocol/generated/share_group_member_metadata_key.h"
#include "protocol/generated/share_group_member_metadata_value.h"
#include "protocol/generated/share_group_metadata_key.h"
#include "protocol/generated/share_group_metadata_value.h"
#include "protocol/generated/share_group_state_partition_metadata_key.h"
#include "protocol/generated/share_group_state_partition_metadata_value.h"
#include "protocol/generated/share_group_target_assignment_member_key.h"
#include "protocol/generated/share_group_target_assignment_member_value.h"
#include "protocol/generated/share_group_target_assignment_metadata_key.h"
#include "protocol/generated/share_group_target_assignment_metadata_value.h"

namespace klamm::broker {

using namespace protocol;

namespace {

Bytes key_of(ShareRecord type, const std::string& group, const std::string& name) {
  switch (type) {
    case ShareRecord::kMember: return member_key<ShareGroupMemberMetadataKey>(type, group, name);
    case ShareRecord::kGroup: return group_key<ShareGroupMetadataKey>(type, group);
    case ShareRecord::kTargetEpoch:
      return group_key<ShareGroupTargetAssignmentMetadataKey>(type, group);
    case ShareRecord::kTarget:
      return member_key<ShareGroupTargetAssignmentMemberKey>(type, group, name);
    case ShareRecord::kCurrent:
      return member_key<ShareGroupCurrentMemberAssignmentKey>(type, group, name);
    case ShareRecord::kPartitions:
      return group_key<ShareGroupStatePartitionMetadataKey>(type, group);
  }
  return {};
}

template <class Value>
CoordinatorRecord record(ShareRecord type, const std::string& group, const std::string& name,
                         const Value& value) {
  return {key_of(type, group, name), prefixed(0, value, 0)};
}

using NamedList = std::vector<ShareGroupStatePartitionMetadataValue::TopicPartitionsInfo>;

NamedList listed(const std::map<Uuid, NamedPartitions>& topics) {
  NamedList out;
  for (const auto& [id, named] : topics) {
    out.push_back({.topic_id = id,
                   .topic_name = named.name,
                   .partitions = {named.partitions.begin(), named.partitions.end()}});
  }
  return out;
}

std::map<Uuid, NamedPartitions> named_of(const NamedList& topics) {
  std::map<Uuid, NamedPartitions> out;
  for (const auto& topic : topics) {
    out[topic.topic_id] = {topic.topic_name, {topic.partitions.begin(), topic.partitions.end()}};
  }
  return out;
}

}  // namespace

CoordinatorRecord share_member_record(const std::string& group, const ShareMember& member) {
  ShareGroupMemberMetadataValue value;
  value.rack_id = member.rack_id;
  value.client_id = member.client_id;
  value.client_host = member.client_host;
  value.subscribed_topic_names.assign(member.topics.begin(), member.topics.end());
  return record(ShareRecord::kMember, group, member.id, value);
}

CoordinatorRecord share_group_record(const std::string& group, int32_t epoch, int64_t hash) {
  ShareGroupMetadataValue value;
  value.epoch = epoch;
  value.metadata_hash = hash;
  return record(ShareRecord::kGroup, group, {}, value);
}

CoordinatorRecord share_target_epoch_record(const std::string& group, int32_t epoch,
                                            int64_t assigned_at_ms) {
  ShareGroupTargetAssignmentMetadataValue value;
  value.assignment_epoch = epoch;
  value.assignment_timestamp = assigned_at_ms;
  return record(ShareRecord::kTargetEpoch, group, {}, value);
}

CoordinatorRecord share_target_record(const std::string& group, const std::string& member,
                                      const Assignment& target) {
  ShareGroupTargetAssignmentMemberValue value;
  list(target, value.topic_partitions);
  return record(ShareRecord::kTarget, group, member, value);
}

CoordinatorRecord share_current_record(const std::string& group, const ShareMember& member) {
  ShareGroupCurrentMemberAssignmentValue value;
  value.member_epoch = member.epoch;
  value.previous_member_epoch = member.previous_epoch;
  list(member.assigned, value.assigned_partitions);
  return record(ShareRecord::kCurrent, group, member.id, value);
}

CoordinatorRecord share_partitions_record(const std::string& group,
                                          const SharedPartitions& shared) {
  ShareGroupStatePartitionMetadataValue value;
  value.initializing_topics = listed(shared.initializing);
  value.initialized_topics = listed(shared.initialized);
  for (const auto& [id, name] : shared.deleting) {
    value.deleting_topics.push_back({.topic_id = id, .topic_name = name});
  }
  return record(ShareRecord::kPartitions, group, {}, value);
}

CoordinatorRecord share_tombstone(ShareRecord type, const std::string& group,
                                  const std::string& name) {
  return {key_of(type, group, name), std::nullopt};
}

void ShareGroupState::apply(const CoordinatorRecord& record) {
  switch (static_cast<ShareRecord>(Reader(record.key).fixed<int16_t>())) {
    case ShareRecord::kMember: {
      const auto id = member_of<ShareGroupMemberMetadataKey>(record);
      std::optional<ShareGroupMemberMetadataValue> value;
      if (!id || !read_value(record, value)) {
        return;
      }
      if (!value) {
        members_.edit().erase(*id);
        return;
      }
      ShareMember& member = members_.edit()[*id];
      member.id = *id;
      member.rack_id = value->rack_id;
      member.client_id = value->client_id;
      member.client_host = value->client_host;
      member.topics = {value->subscribed_topic_names.begin(), value->subscribed_topic_names.end()};
      return;
    }
    case ShareRecord::kGroup:
      if (std::optional<ShareGroupMetadataValue> value; read_value(record, value) && value) {
        epoch_ = value->epoch;
        metadata_hash_ = value->metadata_hash;
      }
      return;
    case ShareRecord::kTargetEpoch: {
      std::optional<ShareGroupTargetAssignmentMetadataValue> value;
      if (read_value(record, value)) {
        assignment_epoch_ = value ? value->assignment_epoch : -1;
        assigned_at_ms_ = value ? value->assignment_timestamp : 0;
      }
      return;
    }
    case ShareRecord::kTarget: {
      const auto id = member_of<ShareGroupTargetAssignmentMemberKey>(record);
      std::optional<ShareGroupTargetAssignmentMemberValue> value;
      if (id && read_value(record, value)) {
        value ? void(targets_.edit()[*id] = assignment_of(value->topic_partitions))
              : void(targets_.edit().erase(*id));
      }
      return;
    }
    case ShareRecord::kCurrent: apply_current(record); return;
    case ShareRecord::kPartitions: {
      std::optional<ShareGroupStatePartitionMetadataValue> value;
      if (!read_value(record, value)) {
        return;
      }
      SharedPartitions& shared = shared_.edit();
      shared = {};
      if (value) {
        shared.initializing = named_of(value->initializing_topics);
        shared.initialized = named_of(value->initialized_topics);
        for (const auto& topic : value->deleting_topics) {
          shared.deleting[topic.topic_id] = topic.topic_name;
        }
      }
      return;
    }
  }
}

void ShareGroupState::apply_current(const CoordinatorRecord& record) {
  const auto id = member_of<ShareGroupCurrentMemberAssignmentKey>(record);
  std::optional<ShareGroupCurrentMemberAssignmentValue> value;
  if (!id || !read_value(record, value) || (!value && !members_->contains(*id))) {
    return;
  }
  ShareMember& member = members_.edit()[*id];
  member.id = *id;
  member.epoch = value ? value->member_epoch : -1;
  member.previous_epoch = value ? value->previous_member_epoch : -1;
  member.assigned = value ? assignment_of(value->assigned_partitions) : Assignment();
}

bool ShareGroupState::operator==(const ShareGroupState& other) const {
  return id_ == other.id_ && epoch_ == other.epoch_ && metadata_hash_ == other.metadata_hash_ &&
         assignment_epoch_ == other.assignment_epoch_ && assigned_at_ms_ == other.assigned_at_ms_ &&
         *members_ == *other.members_ && *targets_ == *other.targets_ && *shared_ == *other.shared_;
}

const ShareMember* ShareGroupState::member(const std::string& member_id) const {
  const auto found = members_->find(member_id);
  return found == members_->end() ? nullptr : &found->second;
}

const Assignment& ShareGroupState::target(const std::string& member_id) const {
  static const Assignment kNothing;
  const auto found = targets_->find(member_id);
  return found == targets_->end() ? kNothing : found->second;
}

std::set<std::string> ShareGroupState::subscribed_topics() const {
  std::set<std::string> topics;
  for (const auto& [id, member] : *members_) {
    topics.insert(member.topics.begin(), member.topics.end());
  }
  return topics;
}

bool ShareGroupState::has_unassigned() const {
  Assignment assigned;
  for (const auto& [id, target] : *targets_) {
    for (const auto& [topic, partitions] : target) {
      assigned[topic].insert(partitions.begin(), partitions.end());
    }
  }
  const auto topics = subscribed_topics();
  return std::ranges::any_of(shared_->initialized, [&](const auto& each) {
    return topics.contains(each.second.name) && assigned[each.first] != each.second.partitions;
  });
}

}  // namespace klamm::broker
