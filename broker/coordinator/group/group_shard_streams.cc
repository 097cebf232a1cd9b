// Requests of the streams protocol (KIP-1071).
#include <algorithm>

#include "broker/config/keys.h"
#include "broker/coordinator/group/group_requests.h"
#include "broker/coordinator/group/group_shard.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Request = StreamsGroupHeartbeatRequest;
using Response = StreamsGroupHeartbeatResponse;

Result<> check_topology(const Request::Topology& topology) {
  const auto invalid = [](std::string why) {
    return fail(ErrorCode::kStreamsInvalidTopology, std::move(why));
  };
  if (topology.epoch < 0) {
    return invalid("The topology's epoch cannot be negative.");
  }
  for (const auto& subtopology : topology.subtopologies) {
    if (!subtopology.source_topic_regex.empty()) {
      return fail(ErrorCode::kInvalidRequest,
                  "Regular expressions for source topics are not supported yet.");
    }
    for (const auto& topic : subtopology.state_changelog_topics) {
      if (topic.partitions != 0) {
        return invalid("Changelog topic " + topic.name +
                       " must have an undefined partition count, but it is set to " +
                       std::to_string(topic.partitions) + ".");
      }
    }
  }
  return {};
}

Result<> check_join(const Request& request) {
  const auto invalid = [](const char* why) { return fail(ErrorCode::kInvalidRequest, why); };
  const auto is_any = [](const auto& tasks) { return tasks && !tasks->empty(); };
  if (request.rebalance_timeout_ms == -1) {
    return invalid("RebalanceTimeoutMs must be provided in first request.");
  }
  if (is_any(request.active_tasks)) {
    return invalid("ActiveTasks must be empty when (re-)joining.");
  }
  if (is_any(request.standby_tasks)) {
    return invalid("StandbyTasks must be empty when (re-)joining.");
  }
  if (is_any(request.warmup_tasks)) {
    return invalid("WarmupTasks must be empty when (re-)joining.");
  }
  if (!request.topology) {
    return invalid("Topology must be non-null when (re-)joining.");
  }
  return check_topology(*request.topology);
}

// What has to be there in a request, whatever the group.
Result<> check(const Request& request) {
  const auto invalid = [](const char* why) { return fail(ErrorCode::kInvalidRequest, why); };
  if (is_blank(request.member_id)) {
    return invalid("MemberId can't be empty.");
  }
  if (is_blank(request.group_id)) {
    return invalid("GroupId can't be empty.");
  }
  if (is_blank(request.instance_id)) {
    return invalid("InstanceId can't be empty.");
  }
  if (is_blank(request.rack_id)) {
    return invalid("RackId can't be empty.");
  }
  if (request.member_epoch == kJoinEpoch) {
    TRY_VOID(check_join(request));
  } else if (request.member_epoch == kLeaveStaticEpoch && !request.instance_id) {
    return invalid("InstanceId can't be null.");
  } else if (request.member_epoch < kLeaveStaticEpoch) {
    return fail(ErrorCode::kInvalidRequest, "MemberEpoch is " +
                                                std::to_string(request.member_epoch) +
                                                ", but must be greater than or equal to -2.");
  }
  const int kinds = request.active_tasks.has_value() + request.standby_tasks.has_value() +
                    request.warmup_tasks.has_value();
  if (kinds != 0 && kinds != 3) {
    return invalid("If one task-type is non-null, all must be non-null.");
  }
  if (request.member_epoch != kJoinEpoch && request.topology) {
    return invalid("Topology can only be provided when (re-)joining.");
  }
  return {};
}

StreamsMember updated(StreamsMember member, const Request& request, const ClientInfo& client) {
  if (request.instance_id) {
    member.instance_id = request.instance_id;
  }
  if (request.rack_id) {
    member.rack_id = request.rack_id;
  }
  if (request.rebalance_timeout_ms != -1) {
    member.rebalance_timeout_ms = request.rebalance_timeout_ms;
  }
  if (request.topology) {
    member.topology_epoch = request.topology->epoch;
  }
  if (request.process_id) {
    member.process_id = *request.process_id;
  }
  if (request.member_epoch == kJoinEpoch) {
    member.endpoint.reset();
  }
  if (request.user_endpoint) {
    member.endpoint = {request.user_endpoint->host, request.user_endpoint->port};
  }
  if (request.client_tags) {
    member.client_tags.clear();
    for (const auto& tag : *request.client_tags) {
      member.client_tags[tag.key] = tag.value;
    }
  }
  member.client_id = client.client_id;
  member.client_host = client.client_host;
  return member;
}

void tell_tasks(const OwnedTasks& tasks, Response& response) {
  list_tasks(tasks.active, response.active_tasks.emplace());
  list_tasks(tasks.standby, response.standby_tasks.emplace());
  list_tasks(tasks.warmup, response.warmup_tasks.emplace());
}

void add_status(const ConfiguredTopology::Problem& problem, Response& response) {
  response.status->push_back(
      {.status_code = static_cast<int8_t>(problem.status), .status_detail = problem.detail});
}

// The tags that standby tasks are to be spread by and that the member does not have.
std::string missing_tags(const StreamsMember& member, const std::vector<std::string>& wanted) {
  std::string missing;
  for (const auto& tag : wanted) {
    if (!member.client_tags.contains(tag)) {
      missing += (missing.empty() ? "" : ", ") + tag;
    }
  }
  return missing;
}

}  // namespace

StreamsSettings GroupShard::streams_settings(const std::string& group_id,
                                             const replication::MetadataImage& image) const {
  StreamsSettings settings = config_.streams;
  const OwnConfig own(image, group_id);
  own.take("streams.session.timeout.ms", settings.session_timeout_ms);
  own.take("streams.heartbeat.interval.ms", settings.heartbeat_interval_ms);
  own.take("streams.assignment.interval.ms", settings.assignment_interval_ms);
  own.take("streams.initial.rebalance.delay.ms", settings.initial_rebalance_delay_ms);
  own.take("streams.num.standby.replicas", settings.standby_replicas);
  own.take("streams.task.offset.interval.ms", settings.task_offset_interval_ms);
  if (const auto* const lag = own.find("streams.acceptable.recovery.lag")) {
    settings.acceptable_recovery_lag = std::stoll(*lag);
  }
  if (const auto* const tags = own.find("streams.rack.aware.assignment.tags")) {
    settings.rack_tags = split_list(*tags);
  }
  return settings;
}

GroupShard::StreamsView::StreamsView(GroupShard& shard, const std::string& group_id, int64_t now_ms)
    : image(shard.surroundings_.image()),
      settings(shard.streams_settings(group_id, *image)),
      topics_offset(shard.note_topics(*image)),
      context{*image, shard.hashes_, settings, now_ms} {
  const auto* const group = shard.find<StreamsGroup>(group_id);
  if (group != nullptr) {
    context.configured = group->configured(topics_offset);
  }
  // A group that was empty waits for others to join, and so does one that waits already.
  const bool begins = group == nullptr || group->is_empty();
  delayed_until = group == nullptr ? std::nullopt : group->delayed_until();
  if (begins && !delayed_until && settings.initial_rebalance_delay_ms > 0) {
    delayed_until = now_ms + settings.initial_rebalance_delay_ms;
  }
  context.is_delayed = delayed_until.has_value();
}

Result<StreamsDraft> GroupShard::open_streams_group(const std::string& group_id, bool create) {
  Group* const group = find(group_id);
  if (const auto* const streams = dynamic_cast<StreamsGroup*>(group)) {
    return streams->draft();
  }
  StreamsDraft fresh{StreamsState(group_id), {}};
  if (create && group == nullptr) {
    return fresh;
  }
  if (create && group->type() == GroupType::kClassic && group->is_empty()) {
    for (auto& record : tombstones(*group)) {
      fresh.emit(std::move(record));
    }
    return fresh;
  }
  return fail(ErrorCode::kGroupIdNotFound, "Streams group " + group_id + " not found.");
}

void GroupShard::streams_heartbeat(const Request& request, const ClientInfo& client, int64_t now_ms,
                                   Respond<Response> respond) {
  if (const auto valid = check(request); !valid) {
    return respond(refusal<Response>(valid.error()));
  }
  if (request.member_epoch < 0) {
    return streams_leave(request, now_ms, std::move(respond));
  }
  auto draft = open_streams_group(request.group_id, request.member_epoch == kJoinEpoch);
  if (!draft) {
    return respond(refusal<Response>(draft.error()));
  }
  const StreamsView view(*this, request.group_id, now_ms);
  StreamsChange change(*draft, view.context);
  const auto moved = take_streams_member(change, request, client);
  if (!moved) {
    return respond(refusal<Response>(moved.error()));
  }
  if (auto* const group = find<StreamsGroup>(request.group_id)) {
    if (request.shutdown_application) {
      group->shut_down(request.member_id);
    }
    if (moved->moves_endpoint(request)) {
      group->raise_endpoint_epoch();
    }
  }
  write(std::move(draft->records),
        [respond = copyable(std::move(respond)),
         response = streams_response(draft->state, view, change, request, *moved)](ErrorCode code) {
          respond(code == ErrorCode::kNone ? response : Response{.error_code = code});
        });
  if (auto* const group = find<StreamsGroup>(request.group_id)) {
    group->touch(request.member_id, view.settings.session_timeout_ms, now_ms);
    group->delay_until(view.delayed_until);
    group->set_configured(change.configured(), view.topics_offset);
    group->take_offsets(request);
    create_missing(*group);
  }
  reschedule(request.group_id);
}

Result<GroupShard::MovedStreamsMember> GroupShard::take_streams_member(StreamsChange& change,
                                                                       const Request& request,
                                                                       const ClientInfo& client) {
  TRY(const StreamsMember before, change.find_member(request));
  const StreamsMember spoken = updated(before, request, client);
  TRY_VOID(change.update(before, spoken, request));
  change.assign();
  TRY(const StreamsMember after, change.step(spoken, request));
  return MovedStreamsMember{before, after};
}

// Whether members have to be told anew whose partitions can be asked for where.
bool GroupShard::MovedStreamsMember::moves_endpoint(const Request& request) const {
  const bool moves = request.member_epoch == kJoinEpoch || after.assigned != before.assigned;
  return (moves && after.endpoint) || after.endpoint != before.endpoint;
}

Response GroupShard::streams_response(const StreamsState& state, const StreamsView& view,
                                      const StreamsChange& change, const Request& request,
                                      const MovedStreamsMember& moved) const {
  const auto& [before, after] = moved;
  const auto* const group = find<StreamsGroup>(request.group_id);  // null for the first member
  Response response;
  response.member_id = after.id;
  response.member_epoch = after.epoch;
  response.heartbeat_interval_ms = view.settings.heartbeat_interval_ms.value_or(
      heartbeat_interval_ms({}, state.members().size()));
  response.task_offset_interval_ms = view.settings.task_offset_interval_ms;
  response.acceptable_recovery_lag = view.settings.acceptable_recovery_lag;
  if (request.member_epoch == kJoinEpoch || after.assigned != before.assigned) {
    tell_tasks(after.assigned, response);
  }
  response.endpoint_information_epoch = group == nullptr ? 0 : group->endpoint_epoch();
  if (response.endpoint_information_epoch != request.endpoint_information_epoch ||
      (group == nullptr && moved.moves_endpoint(request))) {
    response.partitions_by_user_endpoint = endpoints_of(state, *change.configured(), *view.image);
  }
  add_statuses(group, view, change, after, response);
  return response;
}

// What keeps the member from the tasks that it might have.
void GroupShard::add_statuses(const StreamsGroup* group, const StreamsView& view,
                              const StreamsChange& change, const StreamsMember& member,
                              Response& response) {
  for (const auto& problem : change.problems()) {
    add_status(problem, response);
  }
  if (auto problem = change.configured()->problem) {
    if (group != nullptr && !change.configured()->missing.empty() &&
        !group->creation_error().empty()) {
      problem->detail += "; " + group->creation_error();
    }
    add_status(*problem, response);
  }
  if (group != nullptr && group->shutdown_by()) {
    add_status({StreamsStatus::kShutdownApplication,
                "Streams group member " + *group->shutdown_by() +
                    " encountered a fatal error and requested a shutdown for the entire "
                    "application."},
               response);
  }
  if (const auto missing = missing_tags(member, view.settings.rack_tags); !missing.empty()) {
    add_status({StreamsStatus::kMissingClientTags,
                "Missing required client tags for rack-aware standby assignment: [" + missing +
                    "]. Configure them via 'client.tag.<tagKey>' in your Streams config."},
               response);
  }
}

// Internal topics are made while the members wait; each heartbeat tries again.
void GroupShard::create_missing(StreamsGroup& group) {
  const auto configured = group.configured(topics_offset_);
  if (configured == nullptr || configured->missing.empty()) {
    return;
  }
  surroundings_.create_topics(
      configured->missing, [this, alive = std::weak_ptr(alive_),
                            group_id = group.state().id()](const std::string& error) {
        auto* const left = alive.expired() ? nullptr : find<StreamsGroup>(group_id);
        if (left != nullptr) {
          left->set_creation_error(error);
        }
      });
}

void GroupShard::assign_streams_group(StreamsGroup& group, int64_t now_ms) {
  group.delay_until(std::nullopt);
  const std::string group_id = group.state().id();
  const StreamsView view(*this, group_id, now_ms);
  if (group.is_empty() || view.context.configured == nullptr) {
    return;  // the next heartbeat does it
  }
  StreamsDraft draft = group.draft();
  StreamsChange(draft, view.context).assign();
  write(std::move(draft.records), [](ErrorCode) {});
}

void GroupShard::streams_leave(const Request& request, int64_t now_ms, Respond<Response> respond) {
  auto* const group = find<StreamsGroup>(request.group_id);
  if (group == nullptr) {
    return respond(refusal<Response>(
        {ErrorCode::kGroupIdNotFound, "Group " + request.group_id + " not found."}));
  }
  if (request.shutdown_application) {
    group->shut_down(request.member_id);
  }
  const StreamsState& state = group->state();
  const StreamsMember* const member = request.instance_id
                                          ? state.static_member(*request.instance_id)
                                          : state.member(request.member_id);
  if (member == nullptr) {
    return respond(refusal<Response>(
        {ErrorCode::kUnknownMemberId,
         "Member " + request.member_id + " is not a member of group " + request.group_id + "."}));
  }
  if (member->id != request.member_id) {
    return respond(refusal<Response>(
        {ErrorCode::kFencedInstanceId,
         "Instance id " + *request.instance_id + " is that of member " + member->id + " now."}));
  }
  const Response response{.member_id = request.member_id, .member_epoch = request.member_epoch};
  auto done = [respond = copyable(std::move(respond)), response](ErrorCode code) {
    respond(code == ErrorCode::kNone ? response : Response{.error_code = code});
  };
  if (!request.instance_id || request.member_epoch != kLeaveStaticEpoch) {
    return fence_streams_members(request.group_id, {member->id}, now_ms, std::move(done));
  }
  // It will be back and take over what it had, which counts as assigned to whoever it is then.
  StreamsMember leaving = *member;
  leaving.epoch = kLeaveStaticEpoch;
  leaving.pending_revocation = {};
  for (auto& [subtopology, partitions] : leaving.assigned.active) {
    for (auto& [partition, epoch] : partitions) {
      epoch = 0;
    }
  }
  write({streams_current_record(request.group_id, leaving)}, std::move(done));
}

void GroupShard::fence_streams_members(const std::string& group_id,
                                       const std::set<std::string>& member_ids, int64_t now_ms,
                                       std::function<void(ErrorCode)> done) {
  auto* const group = find<StreamsGroup>(group_id);
  if (group == nullptr || member_ids.empty()) {
    return done(ErrorCode::kNone);
  }
  const StreamsView view(*this, group_id, now_ms);
  StreamsDraft draft = group->draft();
  StreamsChange(draft, view.context).remove(member_ids);
  write(std::move(draft.records), std::move(done));
  reschedule(group_id);
}

Result<StreamsGroupDescribeResponse::DescribedGroup> GroupShard::describe_streams_group(
    const std::string& group_id) const {
  const auto* const group = find<StreamsGroup>(group_id);
  if (group == nullptr) {
    return fail(ErrorCode::kGroupIdNotFound, "Group " + group_id + " not found.");
  }
  return group->describe(*surroundings_.image());
}

}  // namespace klamm::broker
