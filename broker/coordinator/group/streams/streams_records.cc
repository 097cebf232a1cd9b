// How the records of a streams group are written.
#include "broker/coordinator/group/member_records.h"
#include "broker/coordinator/group/streams/streams_state.h"
#include "protocol/generated/streams_group_current_member_assignment_key.h"
#include "protocol/generated/streams_group_current_member_assignment_value.h"
#include "protocol/generated/streams_group_member_metadata_key.h"
#include "protocol/generated/streams_group_member_metadata_value.h"
#include "protocol/generated/streams_group_metadata_key.h"
#include "protocol/generated/streams_group_metadata_value.h"
#include "protocol/generated/streams_group_target_assignment_member_key.h"
#include "protocol/generated/streams_group_target_assignment_member_value.h"
#include "protocol/generated/streams_group_target_assignment_metadata_key.h"
#include "protocol/generated/streams_group_target_assignment_metadata_value.h"
#include "protocol/generated/streams_group_topology_key.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using CurrentValue = StreamsGroupCurrentMemberAssignmentValue;

Bytes key_of(StreamsRecord type, const std::string& group, const std::string& name) {
  switch (type) {
    case StreamsRecord::kGroup: return group_key<StreamsGroupMetadataKey>(type, group);
    case StreamsRecord::kMember:
      return member_key<StreamsGroupMemberMetadataKey>(type, group, name);
    case StreamsRecord::kTargetEpoch:
      return group_key<StreamsGroupTargetAssignmentMetadataKey>(type, group);
    case StreamsRecord::kTarget:
      return member_key<StreamsGroupTargetAssignmentMemberKey>(type, group, name);
    case StreamsRecord::kCurrent:
      return member_key<StreamsGroupCurrentMemberAssignmentKey>(type, group, name);
    case StreamsRecord::kTopology: return group_key<StreamsGroupTopologyKey>(type, group);
  }
  return {};
}

template <class Value>
CoordinatorRecord record(StreamsRecord type, const std::string& group, const std::string& name,
                         const Value& value) {
  return {key_of(type, group, name), prefixed(0, value, 0)};
}

void list_with_epochs(const TaskEpochs& tasks, std::vector<CurrentValue::TaskIds>& into) {
  list_tasks(tasks, into);
  for (auto& out : into) {
    for (const auto& [partition, epoch] : tasks.at(out.subtopology_id)) {
      out.assignment_epochs->push_back(epoch);
    }
  }
}

}  // namespace

CoordinatorRecord streams_group_record(const std::string& group, const StreamsGroupEpoch& epoch) {
  StreamsGroupMetadataValue value;
  value.epoch = epoch.epoch;
  value.metadata_hash = epoch.metadata_hash;
  value.validated_topology_epoch = epoch.validated_topology_epoch;
  for (const auto& [key, config] : epoch.configs) {
    value.last_assignment_configs->push_back({.key = key, .value = config});
  }
  return record(StreamsRecord::kGroup, group, {}, value);
}

CoordinatorRecord streams_member_record(const std::string& group, const StreamsMember& member) {
  StreamsGroupMemberMetadataValue value;
  put_origin(member, value);
  value.rebalance_timeout_ms = member.rebalance_timeout_ms;
  return record(StreamsRecord::kMember, group, member.id, value);
}

CoordinatorRecord streams_target_epoch_record(const std::string& group, int32_t epoch,
                                              int64_t assigned_at_ms) {
  StreamsGroupTargetAssignmentMetadataValue value;
  value.assignment_epoch = epoch;
  value.assignment_timestamp = assigned_at_ms;
  return record(StreamsRecord::kTargetEpoch, group, {}, value);
}

CoordinatorRecord streams_target_record(const std::string& group, const std::string& member,
                                        const TaskSets& target) {
  StreamsGroupTargetAssignmentMemberValue value;
  list_tasks(target.active, value.active_tasks);
  list_tasks(target.standby, value.standby_tasks);
  list_tasks(target.warmup, value.warmup_tasks);
  return record(StreamsRecord::kTarget, group, member, value);
}

CoordinatorRecord streams_current_record(const std::string& group, const StreamsMember& member) {
  CurrentValue value;
  value.member_epoch = member.epoch;
  value.previous_member_epoch = member.previous_epoch;
  value.state = static_cast<int8_t>(member.state);
  list_with_epochs(member.assigned.active, value.active_tasks);
  list_tasks(member.assigned.standby, value.standby_tasks);
  list_tasks(member.assigned.warmup, value.warmup_tasks);
  list_with_epochs(member.pending_revocation.active, value.active_tasks_pending_revocation);
  list_tasks(member.pending_revocation.standby, value.standby_tasks_pending_revocation);
  list_tasks(member.pending_revocation.warmup, value.warmup_tasks_pending_revocation);
  return record(StreamsRecord::kCurrent, group, member.id, value);
}

CoordinatorRecord streams_topology_record(const std::string& group, const Topology& topology) {
  return record(StreamsRecord::kTopology, group, {}, topology);
}

CoordinatorRecord streams_tombstone(StreamsRecord type, const std::string& group,
                                    const std::string& name) {
  return {key_of(type, group, name), std::nullopt};
}

}  // namespace klamm::broker
