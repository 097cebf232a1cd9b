// JoinGroup: the many ways into a group.
#include <algorithm>

#include "broker/coordinator/group/classic/classic_group.h"
#include "broker/coordinator/group/classic/consumer_protocol.h"

namespace klamm::broker {

using namespace protocol;

namespace {

std::vector<std::pair<std::string, Bytes>> protocols_of(const JoinGroupRequest& request) {
  std::vector<std::pair<std::string, Bytes>> protocols;
  for (const auto& protocol : request.protocols) {
    // The request's frame must not stay in memory for the sake of a few bytes of it.
    protocols.emplace_back(protocol.name, Bytes::copy_of(protocol.metadata.span()));
  }
  return protocols;
}

int32_t rebalance_timeout(const JoinGroupRequest& request) {
  return request.rebalance_timeout_ms < 0 ? request.session_timeout_ms
                                          : request.rebalance_timeout_ms;
}

JoinGroupResponse refused(ErrorCode code, const std::string& member_id) {
  return {.error_code = code, .member_id = member_id};
}

}  // namespace

// A new member must speak a protocol that all others speak.
bool ClassicGroup::supports(const JoinGroupRequest& request) const {
  if (members_.empty()) {
    return !request.protocol_type.empty() && !request.protocols.empty();
  }
  if (protocol_type_ && *protocol_type_ != request.protocol_type) {
    return false;
  }
  return has_common_protocol(request, members_, [](const auto& entry, const std::string& name) {
    return std::ranges::any_of(entry.second.protocols,
                               [&name](const auto& spoken) { return spoken.first == name; });
  });
}

void ClassicGroup::join(const JoinGroupRequest& request, const JoinContext& context, int64_t now_ms,
                        Respond<JoinResponse> respond) {
  const std::string& id = request.member_id;
  if (state_ == GroupState::kDead) {
    return respond(refused(ErrorCode::kCoordinatorNotAvailable, id));
  }
  if (!supports(request)) {
    return respond(refused(ErrorCode::kInconsistentGroupProtocol, id));
  }
  const bool is_known = members_.contains(id) || pending_.contains(id);
  if (!is_known && members_.size() + pending_.size() >= config_.members_max &&
      !(request.group_instance_id && static_members_.contains(*request.group_instance_id))) {
    return respond(refused(ErrorCode::kGroupMaxSizeReached, id));
  }
  if (id.empty()) {
    if (request.group_instance_id) {
      if (static_members_.contains(*request.group_instance_id)) {
        return replace_static(request, context, now_ms, std::move(respond));
      }
      return add_and_rebalance(request, context,
                               *request.group_instance_id + "-" + output_.unique_suffix(), now_ms,
                               std::move(respond));
    }
    const std::string new_id = context.client_id + "-" + output_.unique_suffix();
    if (!context.needs_known_member_id) {
      return add_and_rebalance(request, context, new_id, now_ms, std::move(respond));
    }
    // The client comes again with the id, so that one whose answer was lost leaves no ghost behind
    // (KIP-394).
    pending_[new_id] = now_ms + request.session_timeout_ms;
    newest_came_ms_ = now_ms;
    return respond(refused(ErrorCode::kMemberIdRequired, new_id));
  }
  if (!request.group_instance_id && pending_.erase(id) > 0) {
    return add_and_rebalance(request, context, id, now_ms, std::move(respond));
  }
  ClassicMember* member = nullptr;
  if (const ErrorCode error = find_member(id, request.group_instance_id, member);
      error != ErrorCode::kNone) {
    return respond(refused(error, id));
  }
  rejoin(*member, request, now_ms, std::move(respond));
}

void ClassicGroup::add_and_rebalance(const JoinGroupRequest& request, const JoinContext& context,
                                     const std::string& member_id, int64_t now_ms,
                                     Respond<JoinResponse> respond) {
  ClassicMember& member = members_[member_id];
  member.id = member_id;
  member.instance_id = request.group_instance_id;
  member.client_id = context.client_id;
  member.client_host = context.client_host;
  member.rebalance_timeout_ms = rebalance_timeout(request);
  member.session_timeout_ms = request.session_timeout_ms;
  member.protocols = protocols_of(request);
  member.is_new = true;
  newest_came_ms_ = now_ms;
  // A new member that waits for its first rebalance sends no heartbeats; it gets more time.
  member.session_deadline = now_ms + config_.new_member_join_timeout_ms;
  member.join = std::move(respond);
  if (member.instance_id) {
    static_members_[*member.instance_id] = member_id;
  }
  if (leader_.empty()) {
    leader_ = member_id;
  }
  protocol_type_ = request.protocol_type;
  if (state_ == GroupState::kPreparingRebalance) {
    joined_since_delay_ = initial_delay_end_.has_value();
    return maybe_complete_join(now_ms);
  }
  maybe_prepare_rebalance(now_ms);
}

// A static member that restarted takes the place of its former self, under a new id; the old one is
// fenced.
void ClassicGroup::replace_static(const JoinGroupRequest& request, const JoinContext& context,
                                  int64_t now_ms, Respond<JoinResponse> respond) {
  const std::string old_id = static_members_.at(*request.group_instance_id);
  const std::string new_id = *request.group_instance_id + "-" + output_.unique_suffix();
  const std::string old_leader = leader_;
  auto node = members_.extract(old_id);
  ClassicMember& old = node.mapped();
  if (old.join) {
    std::exchange(old.join, nullptr)(refused(ErrorCode::kFencedInstanceId, old_id));
  }
  if (old.sync) {
    std::exchange(old.sync, nullptr)({.error_code = ErrorCode::kFencedInstanceId});
  }
  node.key() = new_id;
  old.id = new_id;
  ClassicMember& member = members_.insert(std::move(node)).position->second;
  static_members_[*member.instance_id] = new_id;
  if (leader_ == old_id) {
    leader_ = new_id;
  }
  member.protocols = protocols_of(request);
  member.rebalance_timeout_ms = rebalance_timeout(request);
  member.session_timeout_ms = request.session_timeout_ms;
  member.client_id = context.client_id;
  member.client_host = context.client_host;
  touch(member, now_ms);
  if (state_ != GroupState::kStable || choose_protocol(protocols_of_members()) != protocol_name_) {
    member.join = std::move(respond);
    return state_ == GroupState::kPreparingRebalance ? maybe_complete_join(now_ms)
                                                     : maybe_prepare_rebalance(now_ms);
  }
  const bool is_leader = leader_ == new_id;
  JoinResponse response = joined(member, is_leader && context.can_skip_assignment);
  response.skip_assignment = is_leader && context.can_skip_assignment;
  if (!context.can_skip_assignment) {
    response.leader =
        old_leader;  // so that it does not compute an assignment that nobody asked for (KIP-345)
  }
  output_.persist(id_, to_record(now_ms),
                  [respond = copyable(std::move(respond)), response, new_id](ErrorCode error) {
                    respond(error == ErrorCode::kNone ? response : refused(error, new_id));
                  });
}

void ClassicGroup::rejoin(ClassicMember& member, const JoinGroupRequest& request, int64_t now_ms,
                          Respond<JoinResponse> respond) {
  const bool unchanged = member.protocols == protocols_of(request);
  switch (state_) {
    case GroupState::kPreparingRebalance:
      return update_and_rebalance(member, request, now_ms, std::move(respond));
    case GroupState::kCompletingRebalance:
      if (unchanged) {  // its first answer was lost
        touch(member, now_ms);
        return respond(joined(member, member.id == leader_));
      }
      return update_and_rebalance(member, request, now_ms, std::move(respond));
    case GroupState::kStable:
      if (member.id == leader_ || !unchanged) {
        return update_and_rebalance(member, request, now_ms, std::move(respond));
      }
      touch(member, now_ms);
      return respond(joined(member, false));
    default: return respond(refused(ErrorCode::kUnknownMemberId, request.member_id));
  }
}

void ClassicGroup::update_and_rebalance(ClassicMember& member, const JoinGroupRequest& request,
                                        int64_t now_ms, Respond<JoinResponse> respond) {
  if (member.join) {  // a retry takes the place of the request before it
    std::exchange(member.join, nullptr)(refused(ErrorCode::kRebalanceInProgress, member.id));
  }
  member.protocols = protocols_of(request);
  member.rebalance_timeout_ms = rebalance_timeout(request);
  member.session_timeout_ms = request.session_timeout_ms;
  member.join = std::move(respond);
  if (state_ == GroupState::kPreparingRebalance) {
    return maybe_complete_join(now_ms);
  }
  maybe_prepare_rebalance(now_ms);
}

}  // namespace klamm::broker
