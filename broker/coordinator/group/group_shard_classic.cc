// Requests of the classic protocol.
#include "broker/coordinator/group/group_shard.h"

namespace klamm::broker {

using namespace protocol;

void GroupShard::join(const JoinGroupRequest& request, const JoinContext& context, int64_t now_ms,
                      Respond<JoinGroupResponse> respond) {
  const auto refuse = [&](ErrorCode code) {
    respond({.error_code = code, .member_id = request.member_id});
  };
  if (request.session_timeout_ms < config_.classic.session_timeout_min_ms ||
      request.session_timeout_ms > config_.classic.session_timeout_max_ms) {
    return refuse(ErrorCode::kInvalidSessionTimeout);
  }
  Group* const known = find(request.group_id);
  if (known != nullptr && known->type() != GroupType::kClassic) {
    if (known->type() == GroupType::kConsumer && !known->is_empty()) {
      return join_consumer_group(request, context, now_ms, std::move(respond));
    }
    if (!known->is_empty() || known->type() == GroupType::kShare) {
      return refuse(ErrorCode::kInconsistentGroupProtocol);
    }
    write(tombstones(*known), [](ErrorCode) {});
  }
  if (!request.member_id.empty() && find<ClassicGroup>(request.group_id) == nullptr) {
    return refuse(ErrorCode::kUnknownMemberId);
  }
  find_or_create_classic(request.group_id).join(request, context, now_ms, std::move(respond));
  reschedule(request.group_id);
}

void GroupShard::sync(const SyncGroupRequest& request, int64_t now_ms,
                      Respond<SyncGroupResponse> respond) {
  if (auto* const group = find<ClassicGroup>(request.group_id)) {
    group->sync(request, now_ms, std::move(respond));
  } else if (auto* const consumer = find<ConsumerGroup>(request.group_id)) {
    auto response = sync_with_consumer_group(*consumer, request, now_ms);
    respond(response ? std::move(*response)
                     : SyncGroupResponse{.error_code = response.error().code});
  } else {
    respond({.error_code = ErrorCode::kUnknownMemberId});
  }
  reschedule(request.group_id);
}

ErrorCode GroupShard::heartbeat(const HeartbeatRequest& request, int64_t now_ms) {
  ErrorCode result = ErrorCode::kUnknownMemberId;
  if (auto* const group = find<ClassicGroup>(request.group_id)) {
    result = group->heartbeat(request, now_ms);
  } else if (auto* const consumer = find<ConsumerGroup>(request.group_id)) {
    result = heartbeat_to_consumer_group(*consumer, request, now_ms);
  }
  reschedule(request.group_id);
  return result;
}

ErrorCode GroupShard::leave(const std::string& group_id, const std::string& member_id,
                            const std::optional<std::string>& instance_id, int64_t now_ms) {
  ErrorCode result = ErrorCode::kUnknownMemberId;
  if (auto* const group = find<ClassicGroup>(group_id)) {
    result = group->leave(member_id, instance_id, now_ms);
  } else if (auto* const consumer = find<ConsumerGroup>(group_id)) {
    result = leave_consumer_group(*consumer, member_id, instance_id, now_ms);
  }
  reschedule(group_id);
  return result;
}

std::optional<DescribeGroupsResponse::DescribedGroup> GroupShard::describe(
    const std::string& group_id) const {
  DescribeGroupsResponse::DescribedGroup out;
  out.group_id = group_id;
  const auto* const group = find<ClassicGroup>(group_id);
  if (group == nullptr) {
    if (find(group_id) != nullptr || !offsets_.knows(group_id)) {
      return std::nullopt;
    }
    out.group_state = name_of(GroupState::kEmpty);
    return out;
  }
  out.group_state = group->state_name();
  out.protocol_type = group->protocol_type();
  const bool agreed = group->state() == GroupState::kStable;
  out.protocol_data = agreed ? group->protocol_name() : "";
  for (const auto& [id, member] : group->members()) {
    const Bytes* metadata = agreed ? member.metadata(group->protocol_name()) : nullptr;
    out.members.push_back({.member_id = id,
                           .group_instance_id = member.instance_id,
                           .client_id = member.client_id,
                           .client_host = member.client_host,
                           .member_metadata = metadata == nullptr ? Bytes() : *metadata,
                           .member_assignment = agreed ? member.assignment : Bytes()});
  }
  return out;
}

}  // namespace klamm::broker
