#include "broker/coordinator/group/streams/streams_change.h"

#include <algorithm>

#include "broker/coordinator/group/consumer/consumer_state.h"
#include "broker/coordinator/group/streams/task_assignor.h"
#include "broker/coordinator/group/streams/task_reconcile.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Request = StreamsGroupHeartbeatRequest;

AssignmentConfigs configs_of(const StreamsSettings& settings) {
  AssignmentConfigs configs{{"num.standby.replicas", std::to_string(settings.standby_replicas)}};
  std::string tags;
  for (const auto& tag : settings.rack_tags) {
    tags += (tags.empty() ? "" : ",") + tag;
  }
  if (!tags.empty()) {
    configs["rack.aware.assignment.tags"] = tags;
  }
  return configs;
}

bool is_part_of(const std::optional<TaskSets>& reported, const OwnedTasks& owned) {
  return reported && within(reported->active, owned.active) &&
         within(reported->standby, owned.standby) && within(reported->warmup, owned.warmup);
}

}  // namespace

std::optional<TaskSets> reported_tasks(const Request& request) {
  if (!request.active_tasks || !request.standby_tasks || !request.warmup_tasks) {
    return std::nullopt;
  }
  return TaskSets{tasks_of(*request.active_tasks), tasks_of(*request.standby_tasks),
                  tasks_of(*request.warmup_tasks)};
}

Result<> StreamsChange::check_epoch(const StreamsMember& member, const Request& request) const {
  const int32_t epoch = request.member_epoch;
  if (epoch == kJoinEpoch || epoch == member.epoch) {
    return {};
  }
  // The answer that told of the new epoch may have been lost.
  if (epoch < member.epoch && epoch == member.previous_epoch &&
      is_part_of(reported_tasks(request), member.assigned)) {
    return {};
  }
  return fail(ErrorCode::kFencedMemberEpoch,
              "The member's epoch is " + std::to_string(member.epoch) + ", not " +
                  std::to_string(epoch) + "; it must give up its tasks and rejoin.");
}

Result<StreamsMember> StreamsChange::find_static(const Request& request) {
  const StreamsState& group = draft_.state;
  const StreamsMember* const known = group.static_member(*request.instance_id);
  const bool joins = request.member_epoch == kJoinEpoch;
  if (known == nullptr) {
    if (!joins) {
      return fail(ErrorCode::kUnknownMemberId,
                  "Instance id " + *request.instance_id + " is unknown.");
    }
    StreamsMember fresh;
    fresh.id = request.member_id;
    return fresh;
  }
  if (!joins) {
    if (known->id != request.member_id) {
      return fail(ErrorCode::kFencedInstanceId, "Instance id " + *request.instance_id +
                                                    " is that of member " + known->id + " now.");
    }
    TRY_VOID(check_epoch(*known, request));
    return *known;
  }
  if (known->epoch != kLeaveStaticEpoch) {
    return fail(ErrorCode::kUnreleasedInstanceId,
                "Instance id " + *request.instance_id + " is in use by member " + known->id + ".");
  }
  StreamsMember after = *known;
  after.id = request.member_id;
  after.epoch = after.previous_epoch = 0;
  const TaskSets target = group.target(known->id);
  const std::string before = known->id;
  for (const auto type :
       {StreamsRecord::kCurrent, StreamsRecord::kTarget, StreamsRecord::kMember}) {
    draft_.emit(streams_tombstone(type, group.id(), before));
  }
  draft_.emit(streams_member_record(group.id(), after));
  draft_.emit(streams_target_record(group.id(), after.id, target));
  draft_.emit(streams_current_record(group.id(), after));
  return after;
}

Result<StreamsMember> StreamsChange::find_member(const Request& request) {
  const StreamsState& group = draft_.state;
  const StreamsMember* const known = group.member(request.member_id);
  if (request.member_epoch == kJoinEpoch &&
      group.members().size() >= context_.settings.members_max) {
    return fail(ErrorCode::kGroupMaxSizeReached,
                "The streams group has reached its maximum capacity of " +
                    std::to_string(context_.settings.members_max) + " members.");
  }
  if (request.instance_id) {
    return find_static(request);
  }
  if (known == nullptr) {
    if (request.member_epoch != kJoinEpoch) {
      return fail(ErrorCode::kUnknownMemberId,
                  "Member " + request.member_id + " is not a member of group " + group.id() + ".");
    }
    StreamsMember fresh;
    fresh.id = request.member_id;
    return fresh;
  }
  TRY_VOID(check_epoch(*known, request));
  return *known;
}

Result<> StreamsChange::take_topology(const StreamsMember& member, const Request& request) {
  const TopologyPtr& known = draft_.state.topology();
  if (known != nullptr && member.topology_epoch < known->epoch) {
    problems_.push_back({StreamsStatus::kStaleTopology,
                         "The member's topology epoch " + std::to_string(member.topology_epoch) +
                             " is behind the group's topology epoch " +
                             std::to_string(known->epoch) + "."});
  }
  if (!request.topology) {
    return known != nullptr ? Result<>()
                            : fail(ErrorCode::kInvalidRequest, "The group has no topology yet.");
  }
  const Topology said = topology_of(*request.topology);
  if (known == nullptr) {
    draft_.emit(streams_topology_record(draft_.state.id(), said));
    return {};
  }
  if (known->epoch <= said.epoch && !is_same(*known, said)) {
    return fail(ErrorCode::kInvalidRequest, "Topology updates are not supported yet.");
  }
  return {};
}

Result<> StreamsChange::check_tasks(const Request& request) const {
  for (const auto* const list :
       {&request.active_tasks, &request.standby_tasks, &request.warmup_tasks}) {
    for (const auto& each : list->value_or(std::vector<Request::TaskIds>{})) {
      const auto found = configured_->subtopologies.find(each.subtopology_id);
      if (found == configured_->subtopologies.end()) {
        return fail(ErrorCode::kInvalidRequest,
                    "Subtopology " + each.subtopology_id + " does not exist in the topology.");
      }
      for (const int32_t partition : each.partitions) {
        if (partition < 0 || partition >= found->second.tasks) {
          return fail(ErrorCode::kInvalidRequest,
                      "Task " + std::to_string(partition) + " for subtopology " +
                          each.subtopology_id + " is invalid. Number of tasks for this " +
                          "subtopology: " + std::to_string(found->second.tasks));
        }
      }
    }
  }
  return {};
}

void StreamsChange::raise_epoch(bool is_needed, int64_t hash) {
  const StreamsState& group = draft_.state;
  const int32_t validated = configured_->is_ready() ? group.topology()->epoch : -1;
  AssignmentConfigs configs = configs_of(context_.settings);
  if (is_needed || hash != group.metadata_hash() || validated != group.validated_topology_epoch() ||
      configs != group.assignment_configs()) {
    draft_.emit(
        streams_group_record(group.id(), {group.epoch() + 1, hash, validated, std::move(configs)}));
  }
}

Result<> StreamsChange::update(const StreamsMember& before, const StreamsMember& after,
                               const Request& request) {
  const bool is_new = draft_.state.member(after.id) == nullptr;
  const bool changed = is_new || !after.same_metadata(before);
  if (changed) {
    draft_.emit(streams_member_record(draft_.state.id(), after));
  }
  TRY_VOID(take_topology(after, request));
  const Topology& topology = *draft_.state.topology();
  int64_t hash = draft_.state.metadata_hash();
  if (configured_ == nullptr) {
    hash = context_.hashes.of(required_topics(topology), context_.image);
    TRY(auto configured, configure(topology, context_.image));
    configured_ = std::make_shared<const ConfiguredTopology>(std::move(configured));
  }
  if (configured_->is_ready()) {
    TRY_VOID(check_tasks(request));
  }
  raise_epoch(changed, hash);
  return {};
}

std::map<std::string, TaskSets> StreamsChange::compute() const {
  const StreamsState& group = draft_.state;
  TaskAssignmentInput input{.members = {},
                            .subtopologies = configured_->subtopologies,
                            .standby_replicas = context_.settings.standby_replicas};
  std::map<std::string, TaskSets> nothing;
  for (const auto& [id, member] : group.members()) {
    input.members.push_back({id, member->process_id, &group.target(id)});
    nothing[id];
  }
  return configured_->is_ready() ? assign_sticky(input) : nothing;
}

void StreamsChange::assign() {
  const StreamsState& group = draft_.state;
  const int64_t interval_ms = context_.settings.assignment_interval_ms;
  const auto put_off = [&](const char* why) {
    problems_.push_back({StreamsStatus::kAssignmentDelayed, why});
  };
  if (context_.is_delayed) {
    return put_off("Assignment delayed due to the configured initial rebalance delay.");
  }
  if (group.assignment_epoch() >= group.epoch()) {
    return;
  }
  if (group.assigned_at_ms() > 0 && interval_ms > 0 &&
      context_.now_ms < group.assigned_at_ms() + interval_ms) {
    return put_off("Assignment delayed due to the configured assignment interval.");
  }
  std::vector<CoordinatorRecord> records;
  for (const auto& [id, target] : compute()) {
    if (!group.has_target(id) || target != group.target(id)) {
      records.push_back(streams_target_record(group.id(), id, target));
    }
  }
  records.push_back(streams_target_epoch_record(group.id(), group.epoch(), context_.now_ms));
  for (auto& record : records) {
    draft_.emit(std::move(record));
  }
}

Result<StreamsMember> StreamsChange::step(const StreamsMember& member, const Request& request) {
  static const TaskSets kNothing;
  const StreamsState& group = draft_.state;
  const TaskReconcileInput input{.group = group,
                                 .target = context_.is_delayed ? kNothing : group.target(member.id),
                                 .target_epoch = group.assignment_epoch(),
                                 .reported = reported_tasks(request)};
  TRY(StreamsMember after, reconcile(input, member));
  if (after != member) {
    draft_.emit(streams_current_record(group.id(), after));
  }
  return after;
}

void StreamsChange::remove(const std::set<std::string>& member_ids) {
  const StreamsState& group = draft_.state;
  for (const auto& id : member_ids) {
    for (const auto type :
         {StreamsRecord::kCurrent, StreamsRecord::kTarget, StreamsRecord::kMember}) {
      draft_.emit(streams_tombstone(type, group.id(), id));
    }
  }
  draft_.emit(streams_group_record(
      group.id(), {group.epoch() + 1, group.metadata_hash(), group.validated_topology_epoch(),
                   group.assignment_configs()}));
  if (group.members().empty()) {  // nobody is left to have a target
    draft_.emit(streams_target_epoch_record(group.id(), group.epoch(), 0));
  }
}

}  // namespace klamm::broker
