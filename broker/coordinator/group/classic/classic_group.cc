#include "broker/coordinator/group/classic/classic_group.h"

#include <algorithm>

#include "broker/coordinator/group/classic/consumer_protocol.h"
#include "broker/coordinator/group/records.h"
#include "protocol/base/check.h"

namespace klamm::broker {

using namespace protocol;

std::string_view name_of(GroupState state) {
  switch (state) {
    case GroupState::kEmpty: return "Empty";
    case GroupState::kPreparingRebalance: return "PreparingRebalance";
    case GroupState::kCompletingRebalance: return "CompletingRebalance";
    case GroupState::kStable: return "Stable";
    case GroupState::kDead: return "Dead";
  }
  return "Unknown";
}

const Bytes* ClassicMember::metadata(const std::string& protocol) const {
  const auto found = std::find_if(protocols.begin(), protocols.end(),
                                  [&](const auto& entry) { return entry.first == protocol; });
  return found == protocols.end() ? nullptr : &found->second;
}

// ---- rebalance ----

void ClassicGroup::move_to(GroupState state, int64_t now_ms) {
  state_ = state;
  state_since_ms_ = now_ms;
}

std::vector<std::vector<std::string>> ClassicGroup::protocols_of_members() const {
  std::vector<std::vector<std::string>> protocols;
  for (const auto& [id, member] : members_) {
    auto& names = protocols.emplace_back();
    for (const auto& [name, metadata] : member.protocols) {
      names.push_back(name);
    }
  }
  return protocols;
}

void ClassicGroup::maybe_prepare_rebalance(int64_t now_ms) {
  if (state_ != GroupState::kPreparingRebalance && state_ != GroupState::kDead) {
    prepare_rebalance(now_ms);
  }
}

void ClassicGroup::prepare_rebalance(int64_t now_ms) {
  for (auto& [id, member] : members_) {
    if (member.sync) {
      touch(member, now_ms);
      std::exchange(member.sync, nullptr)({.error_code = ErrorCode::kRebalanceInProgress});
    }
  }
  const bool first_time = state_ == GroupState::kEmpty;
  move_to(GroupState::kPreparingRebalance, now_ms);
  assigning_ = false;
  sync_deadline_.reset();
  int32_t patience = 0;
  for (const auto& [id, member] : members_) {
    patience = std::max(patience, member.rebalance_timeout_ms);
  }
  if (first_time) {
    // Members of a new group tend to come together; a short wait saves rebalances (KIP-134).
    initial_delay_end_ = now_ms + patience;
    rebalance_deadline_ = now_ms + std::min(config_.initial_rebalance_delay_ms, patience);
    joined_since_delay_ = false;
  } else {
    initial_delay_end_.reset();
    rebalance_deadline_ = now_ms + patience;
  }
  maybe_complete_join(now_ms);
}

void ClassicGroup::maybe_complete_join(int64_t now_ms) {
  if (state_ != GroupState::kPreparingRebalance) {
    return;
  }
  if (initial_delay_end_) {
    if (*rebalance_deadline_ > now_ms) {
      return;
    }
    if (joined_since_delay_ && *initial_delay_end_ > now_ms) {
      joined_since_delay_ = false;
      rebalance_deadline_ =
          std::min(*initial_delay_end_, now_ms + config_.initial_rebalance_delay_ms);
      return;
    }
    if (const int64_t gathered = newest_came_ms_ + config_.gather_ms;
        gathered > now_ms && *initial_delay_end_ > now_ms) {
      rebalance_deadline_ = std::min(*initial_delay_end_, gathered);
      return;
    }
    return complete_join(now_ms);
  }
  const bool all_joined =
      pending_.empty() && std::all_of(members_.begin(), members_.end(), [](const auto& entry) {
        return entry.second.join != nullptr;
      });
  if (all_joined || *rebalance_deadline_ <= now_ms) {
    complete_join(now_ms);
  }
}

void ClassicGroup::complete_join(int64_t now_ms) {
  // Dynamic members that did not come back are out; static ones keep their place until their
  // session ends.
  std::vector<std::string> absent;
  size_t joined_count = 0;
  for (const auto& [id, member] : members_) {
    if (member.join) {
      ++joined_count;
    } else if (!member.instance_id) {
      absent.push_back(id);
    }
  }
  for (const auto& id : absent) {
    remove(id);
  }
  if (!members_.empty() && joined_count == 0) {
    // Only static members, and none has come: wait for them, or for the end of their sessions.
    int32_t patience = 1;
    for (const auto& [id, member] : members_) {
      patience = std::max(patience, member.rebalance_timeout_ms);
    }
    rebalance_deadline_ = now_ms + patience;
    initial_delay_end_.reset();
    return;
  }
  rebalance_deadline_.reset();
  initial_delay_end_.reset();
  ++generation_;
  if (members_.empty()) {
    protocol_name_.clear();
    leader_.clear();
    move_to(GroupState::kEmpty, now_ms);
    return output_.persist(id_, to_record(now_ms), [](ErrorCode) {});
  }
  if (const auto leader = members_.find(leader_);
      leader == members_.end() || !leader->second.join) {
    leader_ = std::find_if(members_.begin(), members_.end(), [](const auto& entry) {
                return entry.second.join != nullptr;
              })->first;
  }
  protocol_name_ = choose_protocol(protocols_of_members());
  move_to(GroupState::kCompletingRebalance, now_ms);
  int32_t patience = 0;
  for (auto& [id, member] : members_) {
    patience = std::max(patience, member.rebalance_timeout_ms);
    if (member.join) {
      touch(member, now_ms);
      member.is_new = false;
      std::exchange(member.join, nullptr)(joined(member, id == leader_));
    }
  }
  sync_deadline_ = now_ms + patience;
}

JoinGroupResponse ClassicGroup::joined(const ClassicMember& member, bool with_members) const {
  JoinGroupResponse response;
  response.generation_id = generation_;
  response.protocol_type = protocol_type_;
  response.protocol_name = protocol_name_;
  response.leader = leader_;
  response.member_id = member.id;
  if (with_members) {
    for (const auto& [id, each] : members_) {
      const Bytes* metadata = each.metadata(protocol_name_);
      response.members.push_back({.member_id = id,
                                  .group_instance_id = each.instance_id,
                                  .metadata = metadata == nullptr ? Bytes() : *metadata});
    }
  }
  return response;
}

void ClassicGroup::remove(const std::string& member_id) {
  const auto found = members_.find(member_id);
  if (found == members_.end()) {
    return;
  }
  if (found->second.instance_id) {
    static_members_.erase(*found->second.instance_id);
  }
  if (found->second.join) {
    found->second.join({.error_code = ErrorCode::kUnknownMemberId, .member_id = member_id});
  }
  if (found->second.sync) {
    found->second.sync({.error_code = ErrorCode::kUnknownMemberId});
  }
  members_.erase(found);
  if (leader_ == member_id) {
    leader_ = members_.empty() ? "" : members_.begin()->first;
  }
}

void ClassicGroup::member_gone(int64_t now_ms) {
  if (state_ == GroupState::kStable || state_ == GroupState::kCompletingRebalance) {
    prepare_rebalance(now_ms);
  } else {
    maybe_complete_join(now_ms);
  }
}

// ---- sync ----

void ClassicGroup::sync(const SyncGroupRequest& request, int64_t now_ms,
                        Respond<SyncGroupResponse> respond) {
  ClassicMember* member = nullptr;
  const auto refuse = [&](ErrorCode code) { respond({.error_code = code}); };
  if (const ErrorCode error = find_member(request.member_id, request.group_instance_id, member);
      error != ErrorCode::kNone) {
    return refuse(error);
  }
  if (request.generation_id != generation_) {
    return refuse(ErrorCode::kIllegalGeneration);
  }
  if ((request.protocol_type && request.protocol_type != protocol_type_) ||
      (request.protocol_name && *request.protocol_name != protocol_name_)) {
    return refuse(ErrorCode::kInconsistentGroupProtocol);
  }
  switch (state_) {
    case GroupState::kPreparingRebalance: return refuse(ErrorCode::kRebalanceInProgress);
    case GroupState::kCompletingRebalance:
      if (member->sync) {
        std::exchange(member->sync, nullptr)({.error_code = ErrorCode::kRebalanceInProgress});
      }
      member->sync = std::move(respond);
      if (request.member_id == leader_ && !assigning_) {
        assign(request, now_ms);
      }
      return;
    case GroupState::kStable:
      touch(*member, now_ms);
      return respond({.protocol_type = protocol_type_,
                      .protocol_name = protocol_name_,
                      .assignment = member->assignment});
    default: return refuse(ErrorCode::kUnknownMemberId);
  }
}

// Writes the leader's assignment; members get it once it is committed.
void ClassicGroup::assign(const SyncGroupRequest& request, int64_t now_ms) {
  assigning_ = true;
  GroupMetadataValue record = to_record(now_ms);
  for (auto& member : record.members) {
    const auto given = std::find_if(request.assignments.begin(), request.assignments.end(),
                                    [&](const auto& a) { return a.member_id == member.member_id; });
    member.assignment = given == request.assignments.end() ? Bytes() : given->assignment;
  }
  output_.persist(
      id_, record,
      [this, alive = std::weak_ptr(alive_), generation = generation_, now_ms](ErrorCode error) {
        if (!alive.expired()) {
          finish_sync(error, generation, now_ms);
        }
      });
}

void ClassicGroup::finish_sync(ErrorCode error, int32_t generation, int64_t now_ms) {
  if (state_ != GroupState::kCompletingRebalance || generation != generation_ || !assigning_) {
    return;  // another rebalance began meanwhile
  }
  assigning_ = false;
  if (error != ErrorCode::kNone) {
    for (auto& [id, member] : members_) {
      member.assignment = Bytes();
      if (member.sync) {
        std::exchange(member.sync, nullptr)({.error_code = error});
      }
    }
    return prepare_rebalance(now_ms);
  }
  sync_deadline_.reset();
  move_to(GroupState::kStable, now_ms);
  for (auto& [id, member] : members_) {
    if (member.sync) {
      touch(member, now_ms);
      std::exchange(member.sync, nullptr)({.protocol_type = protocol_type_,
                                           .protocol_name = protocol_name_,
                                           .assignment = member.assignment});
    }
  }
}

// ---- life ----

ErrorCode ClassicGroup::find_member(const std::string& id,
                                    const std::optional<std::string>& instance_id,
                                    ClassicMember*& member) {
  if (state_ == GroupState::kDead) {
    return ErrorCode::kCoordinatorNotAvailable;
  }
  if (instance_id) {
    const auto known = static_members_.find(*instance_id);
    if (known == static_members_.end()) {
      return ErrorCode::kUnknownMemberId;
    }
    if (known->second != id) {
      return ErrorCode::kFencedInstanceId;
    }
  }
  const auto found = members_.find(id);
  if (found == members_.end()) {
    return ErrorCode::kUnknownMemberId;
  }
  member = &found->second;
  return ErrorCode::kNone;
}

ErrorCode ClassicGroup::heartbeat(const HeartbeatRequest& request, int64_t now_ms) {
  ClassicMember* member = nullptr;
  if (const ErrorCode error = find_member(request.member_id, request.group_instance_id, member);
      error != ErrorCode::kNone) {
    return error;
  }
  if (request.generation_id != generation_) {
    return ErrorCode::kIllegalGeneration;
  }
  if (state_ == GroupState::kEmpty) {
    return ErrorCode::kUnknownMemberId;
  }
  touch(*member, now_ms);
  return state_ == GroupState::kPreparingRebalance ? ErrorCode::kRebalanceInProgress
                                                   : ErrorCode::kNone;
}

ErrorCode ClassicGroup::leave(const std::string& member_id,
                              const std::optional<std::string>& instance_id, int64_t now_ms) {
  std::string id = member_id;
  if (instance_id &&
      member_id.empty()) {  // an administrator removes a static member by its instance id
    const auto known = static_members_.find(*instance_id);
    if (known == static_members_.end()) {
      return ErrorCode::kUnknownMemberId;
    }
    id = known->second;
  }
  if (pending_.erase(id) > 0) {
    maybe_complete_join(now_ms);
    return ErrorCode::kNone;
  }
  ClassicMember* member = nullptr;
  if (const ErrorCode error = find_member(id, instance_id, member); error != ErrorCode::kNone) {
    return error;
  }
  remove(id);
  member_gone(now_ms);
  return ErrorCode::kNone;
}

ErrorCode ClassicGroup::check_commit(const std::string& member_id,
                                     const std::optional<std::string>& instance_id,
                                     int32_t generation, bool in_transaction, int64_t now_ms) {
  if (generation < 0 && state_ == GroupState::kEmpty) {
    return ErrorCode::kNone;  // from outside, or for a group that nobody is in
  }
  if (generation < 0 && member_id.empty() && !instance_id) {
    return in_transaction ? ErrorCode::kNone : ErrorCode::kUnknownMemberId;
  }
  ClassicMember* member = nullptr;
  if (const ErrorCode error = find_member(member_id, instance_id, member);
      error != ErrorCode::kNone) {
    return error;
  }
  if (generation != generation_) {
    return ErrorCode::kIllegalGeneration;
  }
  if (in_transaction) {
    return ErrorCode::kNone;
  }
  if (state_ == GroupState::kCompletingRebalance) {
    return ErrorCode::kRebalanceInProgress;
  }
  touch(*member, now_ms);
  return ErrorCode::kNone;
}

bool ClassicGroup::is_subscribed(const std::string& topic) const {
  for (const auto& [id, member] : members_) {
    const Bytes* const metadata = member.metadata(protocol_name_);
    if (metadata == nullptr) {
      return true;
    }
    const auto subscription = read_subscription(*metadata);
    if (!subscription || std::ranges::find(subscription->content.topics, topic) !=
                             subscription->content.topics.end()) {
      return true;
    }
  }
  return false;
}

void ClassicGroup::tick(int64_t now_ms) {
  std::erase_if(pending_, [&](const auto& entry) { return entry.second <= now_ms; });
  std::vector<std::string> silent;
  for (const auto& [id, member] : members_) {
    const bool waits = !member.is_new && (member.join || member.sync);
    const bool missed_sync = state_ == GroupState::kCompletingRebalance && sync_deadline_ &&
                             *sync_deadline_ <= now_ms && !member.sync;
    if ((!waits && member.session_deadline <= now_ms) || missed_sync) {
      silent.push_back(id);
    }
  }
  for (const auto& id : silent) {
    remove(id);
  }
  if (sync_deadline_ && *sync_deadline_ <= now_ms) {
    sync_deadline_.reset();  // who is left has synced
  }
  if (!silent.empty()) {
    member_gone(now_ms);
  }
  maybe_complete_join(now_ms);
}

std::optional<int64_t> ClassicGroup::next_deadline() const {
  std::optional<int64_t> first = rebalance_deadline_;
  const auto consider = [&](std::optional<int64_t> deadline) {
    if (deadline && (!first || *deadline < *first)) {
      first = deadline;
    }
  };
  consider(sync_deadline_);
  for (const auto& [id, deadline] : pending_) {
    consider(deadline);
  }
  for (const auto& [id, member] : members_) {
    if (member.is_new || (!member.join && !member.sync)) {
      consider(member.session_deadline);
    }
  }
  return first;
}

// ---- records ----

GroupMetadataValue ClassicGroup::to_record(int64_t now_ms) const {
  GroupMetadataValue value;
  value.protocol_type = protocol_type_.value_or("");
  value.generation = generation_;
  value.protocol = members_.empty() ? std::nullopt : std::optional(protocol_name_);
  value.leader = members_.empty() ? std::nullopt : std::optional(leader_);
  value.current_state_timestamp = now_ms;
  for (const auto& [id, member] : members_) {
    const Bytes* metadata = member.metadata(protocol_name_);
    value.members.push_back({.member_id = id,
                             .group_instance_id = member.instance_id,
                             .client_id = member.client_id,
                             .client_host = member.client_host,
                             .rebalance_timeout = member.rebalance_timeout_ms,
                             .session_timeout = member.session_timeout_ms,
                             .subscription = metadata == nullptr ? Bytes() : *metadata,
                             .assignment = member.assignment});
  }
  return value;
}

// A live group keeps its open answers and sessions: only what the record says is taken from it.
void ClassicGroup::apply(const GroupMetadataValue& value) {
  generation_ = value.generation;
  protocol_type_ = value.protocol_type.empty() ? std::nullopt : std::optional(value.protocol_type);
  protocol_name_ = value.protocol.value_or("");
  leader_ = value.leader.value_or("");
  state_since_ms_ = value.current_state_timestamp;
  std::set<std::string> named;
  for (const auto& from : value.members) {
    named.insert(from.member_id);
    ClassicMember& member = members_[from.member_id];
    if (member.id.empty()) {
      member.id = from.member_id;
      member.instance_id = from.group_instance_id;
      member.client_id = from.client_id;
      member.client_host = from.client_host;
      member.protocols = {{protocol_name_, from.subscription}};
    }
    member.rebalance_timeout_ms =
        from.rebalance_timeout < 0 ? from.session_timeout : from.rebalance_timeout;
    member.session_timeout_ms = from.session_timeout;
    member.assignment = from.assignment;
    if (member.instance_id) {
      static_members_[*member.instance_id] = member.id;
    }
  }
  std::erase_if(members_, [&](const auto& entry) { return !named.contains(entry.first); });
  std::erase_if(static_members_,
                [&](const auto& entry) { return !members_.contains(entry.second); });
  if (state_ == GroupState::kEmpty && !members_.empty()) {
    state_ = GroupState::kStable;
  } else if (members_.empty()) {
    state_ = GroupState::kEmpty;
  }
}

void ClassicGroup::start_sessions(int64_t now_ms) {
  for (auto& [id, member] : members_) {
    touch(member, now_ms);
  }
}

void ClassicGroup::answer_all(ErrorCode code) {
  for (auto& [id, member] : members_) {
    if (auto join = std::exchange(member.join, nullptr)) {
      join({.error_code = code, .member_id = id});
    }
    if (auto sync = std::exchange(member.sync, nullptr)) {
      sync({.error_code = code});
    }
  }
}

void ClassicGroup::unload() {
  state_ = GroupState::kDead;
  answer_all(ErrorCode::kNotCoordinator);
}

void ClassicGroup::add_tombstones(std::vector<CoordinatorRecord>& records) const {
  records.push_back(group_tombstone(id_));
}

}  // namespace klamm::broker
