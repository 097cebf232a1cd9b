#include "broker/coordinator/group/streams/streams_state.h"

#include <algorithm>

#include "broker/coordinator/group/member_records.h"
#include "protocol/generated/streams_group_current_member_assignment_key.h"
#include "protocol/generated/streams_group_current_member_assignment_value.h"
#include "protocol/generated/streams_group_member_metadata_key.h"
#include "protocol/generated/streams_group_member_metadata_value.h"
#include "protocol/generated/streams_group_metadata_value.h"
#include "protocol/generated/streams_group_target_assignment_member_key.h"
#include "protocol/generated/streams_group_target_assignment_member_value.h"
#include "protocol/generated/streams_group_target_assignment_metadata_value.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using CurrentValue = StreamsGroupCurrentMemberAssignmentValue;

// Records of Kafka before 4.2 have no epochs: their tasks count as assigned at the member's.
TaskEpochs epochs_of(const std::vector<CurrentValue::TaskIds>& list, int32_t member_epoch) {
  TaskEpochs tasks;
  for (const auto& each : list) {
    const auto& epochs = each.assignment_epochs;
    const bool has_epochs = epochs && epochs->size() == each.partitions.size();
    for (size_t i = 0; i < each.partitions.size(); ++i) {
      tasks[each.subtopology_id][each.partitions[i]] = has_epochs ? (*epochs)[i] : member_epoch;
    }
  }
  return tasks;
}

StreamsMemberState state_of(int8_t value) {
  const auto state = static_cast<StreamsMemberState>(value);
  switch (state) {
    case StreamsMemberState::kStable:
    case StreamsMemberState::kUnrevokedTasks:
    case StreamsMemberState::kUnreleasedTasks: return state;
    default: return StreamsMemberState::kUnknown;
  }
}

}  // namespace

bool StreamsMember::same_metadata(const StreamsMember& other) const {
  return instance_id == other.instance_id && rack_id == other.rack_id &&
         client_id == other.client_id && client_host == other.client_host &&
         rebalance_timeout_ms == other.rebalance_timeout_ms &&
         topology_epoch == other.topology_epoch && process_id == other.process_id &&
         endpoint == other.endpoint && client_tags == other.client_tags;
}

StreamsMember& StreamsState::change(const std::string& member_id) {
  MemberPtr& known = members_.edit()[member_id];
  auto next = known == nullptr ? std::make_shared<StreamsMember>()
                               : std::make_shared<StreamsMember>(*known);
  next->id = member_id;
  StreamsMember& changed = *next;
  known = std::move(next);
  return changed;
}

void StreamsState::apply(const CoordinatorRecord& record) {
  switch (static_cast<StreamsRecord>(Reader(record.key).fixed<int16_t>())) {
    case StreamsRecord::kGroup: return apply_group(record);
    case StreamsRecord::kMember: return apply_member(record);
    case StreamsRecord::kTargetEpoch: {
      std::optional<StreamsGroupTargetAssignmentMetadataValue> value;
      if (read_value(record, value)) {
        assignment_epoch_ = value ? value->assignment_epoch : -1;
        assigned_at_ms_ = value ? value->assignment_timestamp : 0;
      }
      return;
    }
    case StreamsRecord::kTarget: return apply_target(record);
    case StreamsRecord::kCurrent: return apply_current(record);
    case StreamsRecord::kTopology: {
      std::optional<Topology> value;
      if (read_value(record, value)) {
        topology_ = value ? std::make_shared<const Topology>(std::move(*value)) : nullptr;
      }
      return;
    }
  }
}

void StreamsState::apply_group(const CoordinatorRecord& record) {
  std::optional<StreamsGroupMetadataValue> value;
  if (!read_value(record, value) || !value) {
    return;
  }
  epoch_ = value->epoch;
  metadata_hash_ = value->metadata_hash;
  validated_topology_epoch_ = value->validated_topology_epoch;
  assignment_configs_.clear();
  if (value->last_assignment_configs) {
    for (const auto& config : *value->last_assignment_configs) {
      assignment_configs_[config.key] = config.value;
    }
  }
}

void StreamsState::apply_member(const CoordinatorRecord& record) {
  const auto id = member_of<StreamsGroupMemberMetadataKey>(record);
  std::optional<StreamsGroupMemberMetadataValue> value;
  if (!id || !read_value(record, value)) {
    return;
  }
  if (!value) {
    members_.edit().erase(*id);
    return;
  }
  StreamsMember& member = change(*id);
  member.instance_id = value->instance_id;
  member.rack_id = value->rack_id;
  member.client_id = value->client_id;
  member.client_host = value->client_host;
  member.rebalance_timeout_ms = value->rebalance_timeout_ms;
  member.topology_epoch = value->topology_epoch;
  member.process_id = value->process_id;
  member.endpoint.reset();
  if (value->user_endpoint) {
    member.endpoint = {value->user_endpoint->host, value->user_endpoint->port};
  }
  member.client_tags.clear();
  for (const auto& tag : value->client_tags) {
    member.client_tags[tag.key] = tag.value;
  }
}

void StreamsState::apply_target(const CoordinatorRecord& record) {
  const auto id = member_of<StreamsGroupTargetAssignmentMemberKey>(record);
  std::optional<StreamsGroupTargetAssignmentMemberValue> value;
  if (!id || !read_value(record, value)) {
    return;
  }
  if (!value) {
    targets_.edit().erase(*id);
    return;
  }
  targets_.edit()[*id] = {tasks_of(value->active_tasks), tasks_of(value->standby_tasks),
                          tasks_of(value->warmup_tasks)};
}

void StreamsState::apply_current(const CoordinatorRecord& record) {
  const auto id = member_of<StreamsGroupCurrentMemberAssignmentKey>(record);
  std::optional<CurrentValue> value;
  if (!id || !read_value(record, value) || (!value && !members_->contains(*id))) {
    return;
  }
  StreamsMember& member = change(*id);
  if (!value) {
    member.epoch = member.previous_epoch = -1;
    member.assigned = member.pending_revocation = {};
    return;
  }
  const int32_t epoch = value->member_epoch;
  member.epoch = epoch;
  member.previous_epoch = value->previous_member_epoch;
  member.state = state_of(value->state);
  member.assigned = {epochs_of(value->active_tasks, epoch), tasks_of(value->standby_tasks),
                     tasks_of(value->warmup_tasks)};
  member.pending_revocation = {epochs_of(value->active_tasks_pending_revocation, epoch),
                               tasks_of(value->standby_tasks_pending_revocation),
                               tasks_of(value->warmup_tasks_pending_revocation)};
}

bool StreamsState::operator==(const StreamsState& other) const {
  const auto same_topology = [](const TopologyPtr& a, const TopologyPtr& b) {
    return a == b || (a != nullptr && b != nullptr && *a == *b);
  };
  return id_ == other.id_ && epoch_ == other.epoch_ && metadata_hash_ == other.metadata_hash_ &&
         validated_topology_epoch_ == other.validated_topology_epoch_ &&
         assignment_configs_ == other.assignment_configs_ &&
         assignment_epoch_ == other.assignment_epoch_ && assigned_at_ms_ == other.assigned_at_ms_ &&
         same_topology(topology_, other.topology_) && *targets_ == *other.targets_ &&
         std::ranges::equal(*members_, *other.members_, [](const auto& a, const auto& b) {
           return a.first == b.first && *a.second == *b.second;
         });
}

const StreamsMember* StreamsState::member(const std::string& member_id) const {
  const auto found = members_->find(member_id);
  return found == members_->end() ? nullptr : found->second.get();
}

const StreamsMember* StreamsState::static_member(const std::string& instance_id) const {
  for (const auto& [id, member] : *members_) {
    if (member->instance_id == instance_id) {
      return member.get();
    }
  }
  return nullptr;
}

const TaskSets& StreamsState::target(const std::string& member_id) const {
  static const TaskSets kNothing;
  const auto found = targets_->find(member_id);
  return found == targets_->end() ? kNothing : found->second;
}

}  // namespace klamm::broker
