// Members of the classic protocol in a consumer group: until the last of them has been restarted
// with the new protocol, JoinGroup, SyncGroup and Heartbeat are answered from the group's state.
#include <algorithm>

#include "broker/coordinator/group/classic/consumer_protocol.h"
#include "broker/coordinator/group/group_shard.h"

namespace klamm::broker {

using namespace protocol;

namespace {

// Whether the newcomer speaks a protocol that all classic members speak.
bool supports(const ConsumerState& group, const JoinGroupRequest& request) {
  const auto speaks = [&](const auto& entry, const std::string& name) {
    const auto& [id, member] = entry;
    return !member->classic || id == request.member_id ||
           std::ranges::any_of(member->classic->supported_protocols,
                               [&name](const auto& spoken) { return spoken.name == name; });
  };
  return request.protocol_type == kConsumerProtocolType &&
         has_common_protocol(request, group.members(), speaks);
}

ConsumerMember updated(ConsumerMember member, const JoinGroupRequest& request,
                       const JoinContext& client, const Subscription& subscription) {
  if (request.group_instance_id) {
    member.instance_id = request.group_instance_id;
  }
  if (subscription.content.rack_id) {
    member.rack_id = subscription.content.rack_id;
  }
  if (request.rebalance_timeout_ms != -1) {
    member.rebalance_timeout_ms = request.rebalance_timeout_ms;
  }
  member.topics = {subscription.content.topics.begin(), subscription.content.topics.end()};
  member.regex.clear();
  member.client_id = client.client_id;
  member.client_host = client.client_host;
  member.classic.emplace();
  member.classic->session_timeout_ms = request.session_timeout_ms;
  for (const auto& protocol : request.protocols) {
    member.classic->supported_protocols.push_back(
        {.name = protocol.name, .metadata = Bytes::copy_of(protocol.metadata.span())});
  }
  return member;
}

Assignment owned_by(const Subscription& subscription, const replication::MetadataImage& image) {
  Assignment owned;
  for (const auto& partitions : subscription.content.owned_partitions) {
    if (const auto topic = image.topic(partitions.topic)) {
      owned[topic->id].insert(partitions.partitions.begin(), partitions.partitions.end());
    }
  }
  return owned;
}

// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
Result<const ConsumerMember*> find_classic_member(const ConsumerState& group,
                                                  const std::string& member_id,
                                                  const std::optional<std::string>& instance_id) {
  const ConsumerMember* const member =
      instance_id ? group.static_member(*instance_id) : group.member(member_id);
  if (member == nullptr || !member->classic) {
    return fail(ErrorCode::kUnknownMemberId, "no such classic member");
  }
  if (member->id != member_id) {
    return fail(ErrorCode::kFencedInstanceId, "the instance id is that of another member");
  }
  return member;
}

bool waits_for_others(const ConsumerState& group, const ConsumerMember& member) {
  for (const auto& [topic, partitions] : group.target(member.id)) {
    const auto have = member.assigned.find(topic);
    for (const int32_t partition : partitions) {
      const bool has = have != member.assigned.end() && have->second.contains(partition);
      if (!has && group.is_owned(topic, partition, member)) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

Result<JoinGroupResponse> GroupShard::join_as_classic(ConsumerDraft& draft,
                                                      const ConsumerContext& context,
                                                      const JoinGroupRequest& request,
                                                      const JoinContext& client,
                                                      const std::string& member_id) {
  const auto subscription = read_subscription(request.protocols.front().metadata);
  if (!subscription) {
    return fail(ErrorCode::kInconsistentGroupProtocol, "the subscription cannot be read");
  }
  const bool joins = !request.group_instance_id || request.member_id.empty();
  // A static member that speaks the old protocol may take the place of the last one that spoke the
  // new.
  const ConsumerMember* const known =
      request.group_instance_id ? draft.state.static_member(*request.group_instance_id) : nullptr;
  const bool replaces_new = known != nullptr && !known->classic;
  const ReportedPartitions reported = owned_by(*subscription, context.image);
  ConsumerChange change(draft, context);
  TRY(const ConsumerMember before,
      change.find_member({member_id, request.group_instance_id, kLeaveEpoch, joins, true},
                         reported));
  ConsumerMember after = updated(before, request, client, *subscription);
  TRY(const bool changed, change.update(before, after));
  const bool was_last = replaces_new && turns_classic(draft.state, {}, config_.migration,
                                                      config_.classic.members_max);
  const bool rebalances = draft.state.assignment_epoch() < draft.state.epoch();
  if (!was_last) {
    change.assign();
  }
  if (!was_last || !rebalances) {
    TRY(after, change.step(after, changed, reported));
  }
  if (was_last) {
    auto records = downgraded(draft.state, {}, context.image, context.now_ms);
    std::move(records.begin(), records.end(), std::back_inserter(draft.records));
  }
  return JoinGroupResponse{.generation_id = after.epoch,
                           .protocol_type = kConsumerProtocolType,
                           .protocol_name = request.protocols.front().name,
                           .member_id = after.id};
}

void GroupShard::join_consumer_group(const JoinGroupRequest& request, const JoinContext& client,
                                     int64_t now_ms, Respond<JoinGroupResponse> respond) {
  const auto refuse = [&](ErrorCode code, const std::string& member_id) {
    respond({.error_code = code, .member_id = member_id});
  };
  const auto& group = *find<ConsumerGroup>(request.group_id);
  if (!config_.migration.any() || !supports(group.state(), request)) {
    return refuse(ErrorCode::kInconsistentGroupProtocol, request.member_id);
  }
  const std::string member_id = request.member_id.empty()
                                    ? client.client_id + "-" + surroundings_.unique_suffix()
                                    : request.member_id;
  if (client.needs_known_member_id && request.member_id.empty()) {
    return refuse(ErrorCode::kMemberIdRequired, member_id);
  }
  const ConsumerView view(*this, request.group_id, now_ms);
  ConsumerDraft draft = group.draft();
  const auto response = join_as_classic(draft, view.context, request, client, member_id);
  if (!response) {
    return refuse(response.error().code, request.member_id);
  }
  const bool rebalances = draft.state.assignment_epoch() < draft.state.epoch();
  write(std::move(draft.records),
        [respond = copyable(std::move(respond)), response = *response](ErrorCode code) {
          respond(code == ErrorCode::kNone
                      ? response
                      : JoinGroupResponse{.error_code = code, .member_id = response.member_id});
        });
  if (auto* const joined = find<ConsumerGroup>(request.group_id)) {
    joined->touch(response->member_id, request.session_timeout_ms, now_ms);
    joined->await_sync(response->member_id, now_ms);
    return reschedule(request.group_id);
  }
  became_classic(request.group_id, rebalances, now_ms);
}

Result<SyncGroupResponse> GroupShard::sync_with_consumer_group(ConsumerGroup& group,
                                                               const SyncGroupRequest& request,
                                                               int64_t now_ms) {
  TRY(const ConsumerMember* const member,
      find_classic_member(group.state(), request.member_id, request.group_instance_id));
  if (member->epoch != request.generation_id) {
    return fail(ErrorCode::kIllegalGeneration, "another generation");
  }
  const auto& protocol = member->classic->supported_protocols.front();
  if ((request.protocol_type && *request.protocol_type != kConsumerProtocolType) ||
      (request.protocol_name && *request.protocol_name != protocol.name)) {
    return fail(ErrorCode::kInconsistentGroupProtocol, "another protocol");
  }
  if (group.state().assignment_epoch() > member->epoch &&
      member->state != MemberState::kUnrevokedPartitions) {
    group.await_join(member->id, now_ms);
    return fail(ErrorCode::kRebalanceInProgress, "the member is to join again");
  }
  Assignment assigned;
  for (const auto& [topic, partitions] : member->assigned) {
    for (const auto& [partition, epoch] : partitions) {
      assigned[topic].insert(partition);
    }
  }
  const auto subscription = read_subscription(protocol.metadata);
  group.synced(member->id);
  group.touch(member->id, member->classic->session_timeout_ms, now_ms);
  return SyncGroupResponse{
      .protocol_type = request.protocol_type,
      .protocol_name = request.protocol_name,
      .assignment = write_assignment(assigned, subscription ? subscription->version : 0,
                                     *surroundings_.image())};
}

ErrorCode GroupShard::heartbeat_to_consumer_group(ConsumerGroup& group,
                                                  const HeartbeatRequest& request, int64_t now_ms) {
  const ConsumerState& state = group.state();
  const auto found = find_classic_member(state, request.member_id, request.group_instance_id);
  if (!found) {
    return found.error().code;
  }
  const ConsumerMember& member = **found;
  if (member.epoch != request.generation_id) {
    return ErrorCode::kIllegalGeneration;
  }
  group.touch(member.id, member.classic->session_timeout_ms, now_ms);
  const bool has_to_rejoin =
      member.epoch < state.assignment_epoch() ||
      member.state == MemberState::kUnrevokedPartitions ||
      (member.state == MemberState::kUnreleasedPartitions && !waits_for_others(state, member));
  if (!has_to_rejoin) {
    return ErrorCode::kNone;
  }
  group.await_join(member.id, now_ms);
  return ErrorCode::kRebalanceInProgress;
}

ErrorCode GroupShard::leave_consumer_group(ConsumerGroup& group, const std::string& member_id,
                                           const std::optional<std::string>& instance_id,
                                           int64_t now_ms) {
  const ConsumerMember* const member =
      instance_id ? group.state().static_member(*instance_id) : group.state().member(member_id);
  if (member == nullptr) {
    return ErrorCode::kUnknownMemberId;
  }
  // An administrator names static members by their instance id alone.
  if (instance_id && !member_id.empty() && member->id != member_id) {
    return ErrorCode::kFencedInstanceId;
  }
  const std::string group_id = group.state().id();  // the group may turn into another
  fence(group_id, {member->id}, now_ms, [](ErrorCode) {});
  return ErrorCode::kNone;
}

}  // namespace klamm::broker
