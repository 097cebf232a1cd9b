#include "broker/coordinator/group/group_shard.h"

namespace klamm::broker {

using namespace protocol;

ClassicGroup* GroupShard::find(const std::string& group_id) {
  const auto found = groups_.find(group_id);
  return found == groups_.end() ? nullptr : found->second.get();
}

ClassicGroup& GroupShard::find_or_create(const std::string& group_id) {
  auto& group = groups_[group_id];
  if (group == nullptr) {
    group = std::make_unique<ClassicGroup>(group_id, config_.classic, *this);
  }
  return *group;
}

void GroupShard::unschedule(const std::string& group_id) {
  if (const auto known = deadline_of_.find(group_id); known != deadline_of_.end()) {
    deadlines_.erase({known->second, group_id});
    deadline_of_.erase(known);
  }
}

void GroupShard::reschedule(const ClassicGroup& group) {
  unschedule(group.id());
  if (const auto deadline = group.next_deadline()) {
    deadlines_.insert({*deadline, group.id()});
    deadline_of_[group.id()] = *deadline;
  }
}

void GroupShard::join(const JoinGroupRequest& request, const JoinContext& context, int64_t now_ms,
                      Respond<JoinGroupResponse> respond) {
  const auto refuse = [&](ErrorCode code) {
    respond({.error_code = code, .member_id = request.member_id});
  };
  if (request.session_timeout_ms < config_.classic.session_timeout_min_ms ||
      request.session_timeout_ms > config_.classic.session_timeout_max_ms) {
    return refuse(ErrorCode::kInvalidSessionTimeout);
  }
  if (!request.member_id.empty() && find(request.group_id) == nullptr) {
    return refuse(ErrorCode::kUnknownMemberId);
  }
  ClassicGroup& group = find_or_create(request.group_id);
  group.join(request, context, now_ms, std::move(respond));
  reschedule(group);
}

void GroupShard::sync(const SyncGroupRequest& request, int64_t now_ms,
                      Respond<SyncGroupResponse> respond) {
  ClassicGroup* group = find(request.group_id);
  if (group == nullptr) {
    return respond({.error_code = ErrorCode::kUnknownMemberId});
  }
  group->sync(request, now_ms, std::move(respond));
  reschedule(*group);
}

ErrorCode GroupShard::heartbeat(const HeartbeatRequest& request, int64_t now_ms) {
  ClassicGroup* group = find(request.group_id);
  if (group == nullptr) {
    return ErrorCode::kUnknownMemberId;
  }
  const ErrorCode result = group->heartbeat(request, now_ms);
  reschedule(*group);
  return result;
}

ErrorCode GroupShard::leave(const std::string& group_id, const std::string& member_id,
                            const std::optional<std::string>& instance_id, int64_t now_ms) {
  ClassicGroup* group = find(group_id);
  if (group == nullptr) {
    return ErrorCode::kUnknownMemberId;
  }
  const ErrorCode result = group->leave(member_id, instance_id, now_ms);
  reschedule(*group);
  return result;
}

ErrorCode GroupShard::check_commit(const CommitRequest& request, bool in_transaction,
                                   int64_t now_ms) {
  ClassicGroup* group = find(request.group_id);
  if (group != nullptr) {
    const ErrorCode error = group->check_commit(request.member_id, request.instance_id,
                                                request.generation, in_transaction, now_ms);
    reschedule(*group);
    return error;
  }
  // Whoever keeps offsets here without being a member needs no group; a member of one that is gone
  // has lost it.
  if (request.generation < 0) {
    return ErrorCode::kNone;
  }
  return offsets_.knows(request.group_id) ? ErrorCode::kUnknownMemberId
                                          : ErrorCode::kIllegalGeneration;
}

namespace {

std::vector<CoordinatorRecord> records_of(const CommitRequest& request) {
  std::vector<CoordinatorRecord> records;
  for (const auto& offset : request.offsets) {
    OffsetCommitKey key;
    key.group = request.group_id;
    key.topic = offset.topic;
    key.partition = offset.partition;
    records.push_back(offset_record(key, offset.value));
  }
  return records;
}

}  // namespace

void GroupShard::commit(const CommitRequest& request, int64_t now_ms, Respond<ErrorCode> respond) {
  const ErrorCode error = check_commit(request, false, now_ms);
  if (error != ErrorCode::kNone || request.offsets.empty()) {
    return respond(error);
  }
  auto shared = std::make_shared<Respond<ErrorCode>>(std::move(respond));
  sink_.append(records_of(request), [shared](ErrorCode code) { (*shared)(code); });
}

void GroupShard::commit_in_transaction(const CommitRequest& request,
                                       const InTransaction& transaction, int64_t now_ms,
                                       Respond<ErrorCode> respond) {
  const ErrorCode error = check_commit(request, true, now_ms);
  if (error != ErrorCode::kNone || request.offsets.empty()) {
    return respond(error);
  }
  auto shared = std::make_shared<Respond<ErrorCode>>(std::move(respond));
  sink_.append_in_transaction(transaction, records_of(request),
                              [shared](ErrorCode code) { (*shared)(code); });
}

void GroupShard::remove_group(const std::string& group_id, Respond<ErrorCode> respond) {
  ClassicGroup* group = find(group_id);
  if (group == nullptr && !offsets_.knows(group_id)) {
    return respond(ErrorCode::kGroupIdNotFound);
  }
  if (group != nullptr && group->state() != GroupState::kEmpty) {
    return respond(ErrorCode::kNonEmptyGroup);
  }
  auto records = offsets_.tombstones(group_id);
  records.push_back(group_tombstone(group_id));
  auto shared = std::make_shared<Respond<ErrorCode>>(std::move(respond));
  sink_.append(std::move(records), [shared](ErrorCode error) { (*shared)(error); });
}

void GroupShard::remove_offsets(const OffsetDeleteRequest& request,
                                Respond<OffsetDeleteResponse> respond) {
  const ClassicGroup* const group = find(request.group_id);
  if (group == nullptr && !offsets_.knows(request.group_id)) {
    return respond({.error_code = ErrorCode::kGroupIdNotFound});
  }
  const bool has_members = group != nullptr && group->state() != GroupState::kEmpty;
  if (has_members && !group->is_of_consumers()) {
    return respond({.error_code = ErrorCode::kNonEmptyGroup});
  }
  OffsetDeleteResponse response;
  std::vector<CoordinatorRecord> records;
  for (const auto& topic : request.topics) {
    const bool is_read = has_members && group->is_subscribed(topic.name);
    auto& out = response.topics.emplace_back();
    out.name = topic.name;
    for (const auto& partition : topic.partitions) {
      out.partitions.push_back(
          {.partition_index = partition.partition_index,
           .error_code = is_read ? ErrorCode::kGroupSubscribedToTopic : ErrorCode::kNone});
      if (!is_read) {
        offsets_.add_tombstone(request.group_id, {topic.name, partition.partition_index}, records);
      }
    }
  }
  if (records.empty()) {
    return respond(std::move(response));
  }
  auto shared = std::make_shared<Respond<OffsetDeleteResponse>>(std::move(respond));
  sink_.append(std::move(records), [shared, response = std::move(response)](ErrorCode code) {
    (*shared)(code == ErrorCode::kNone ? response : OffsetDeleteResponse{.error_code = code});
  });
}

std::optional<DescribeGroupsResponse::DescribedGroup> GroupShard::describe(
    const std::string& group_id) const {
  const auto found = groups_.find(group_id);
  DescribeGroupsResponse::DescribedGroup out;
  out.group_id = group_id;
  if (found == groups_.end()) {
    if (!offsets_.knows(group_id)) {
      return std::nullopt;
    }
    out.group_state = name_of(GroupState::kEmpty);
    return out;
  }
  const ClassicGroup& group = *found->second;
  out.group_state = name_of(group.state());
  out.protocol_type = group.protocol_type().value_or("");
  const bool agreed = group.state() == GroupState::kStable;
  out.protocol_data = agreed ? group.protocol_name() : "";
  for (const auto& [id, member] : group.members()) {
    const Bytes* metadata = agreed ? member.metadata(group.protocol_name()) : nullptr;
    out.members.push_back({.member_id = id,
                           .group_instance_id = member.instance_id,
                           .client_id = member.client_id,
                           .client_host = member.client_host,
                           .member_metadata = metadata == nullptr ? Bytes() : *metadata,
                           .member_assignment = agreed ? member.assignment : Bytes()});
  }
  return out;
}

void GroupShard::list(std::vector<ListGroupsResponse::ListedGroup>& into) const {
  for (const auto& [id, group] : groups_) {
    into.push_back({.group_id = id,
                    .protocol_type = group->protocol_type().value_or(""),
                    .group_state = std::string(name_of(group->state())),
                    .group_type = "Classic"});
  }
  for (const auto& id : offsets_.group_ids()) {
    if (!groups_.contains(id)) {
      into.push_back({.group_id = id,
                      .protocol_type = "",
                      .group_state = std::string(name_of(GroupState::kEmpty)),
                      .group_type = "Classic"});
    }
  }
}

void GroupShard::expire(int64_t now_ms) {
  std::vector<CoordinatorRecord> records;
  std::set<std::string> ids = offsets_.group_ids();
  for (const auto& [id, group] : groups_) {
    ids.insert(id);
  }
  for (const auto& id : ids) {
    const ClassicGroup* group = find(id);
    if (group != nullptr && group->state() != GroupState::kEmpty) {
      continue;
    }
    const auto* offsets = offsets_.group(id);
    auto expired = offsets_.expired(id, group == nullptr ? -1 : group->state_since_ms(),
                                    config_.offsets_retention_ms, now_ms);
    const bool nothing_left =
        expired.size() == (offsets == nullptr ? 0 : offsets->size()) && !offsets_.has_pending(id);
    std::move(expired.begin(), expired.end(), std::back_inserter(records));
    if (group != nullptr && nothing_left && !group->next_deadline()) {
      records.push_back(group_tombstone(id));
    }
  }
  if (!records.empty()) {
    sink_.append(std::move(records), [](ErrorCode) {});
  }
}

void GroupShard::replay(const CoordinatorRecord& record, RecordPlace place, int64_t) {
  const ParsedRecord parsed = parse_group_record(record);
  if (const auto* offset = std::get_if<ParsedOffset>(&parsed)) {
    offsets_.replay(*offset, place);
  } else if (const auto* group = std::get_if<ParsedGroup>(&parsed)) {
    if (group->value) {
      find_or_create(group->group_id).apply(*group->value);
    } else {
      unschedule(group->group_id);
      groups_.erase(group->group_id);
    }
  }
}

void GroupShard::loaded(int64_t now_ms) {
  for (auto& [id, group] : groups_) {
    group->start_sessions(now_ms);
    reschedule(*group);
  }
  next_expiry_check_ms_ = now_ms + config_.expiry_check_ms;
}

void GroupShard::unloaded() {
  for (const auto& [id, group] : groups_) {
    group->unload();
  }
}

void GroupShard::tick(int64_t now_ms) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_ms) {
    ClassicGroup* group = find(deadlines_.begin()->second);
    group->tick(now_ms);
    reschedule(*group);
  }
  if (next_expiry_check_ms_ <= now_ms) {
    expire(now_ms);
    next_expiry_check_ms_ = now_ms + config_.expiry_check_ms;
  }
}

std::optional<int64_t> GroupShard::next_deadline() const {
  return deadlines_.empty() ? next_expiry_check_ms_
                            : std::min(deadlines_.begin()->first, next_expiry_check_ms_);
}

void GroupShard::persist(const std::string& group_id, const GroupMetadataValue& value,
                         std::function<void(ErrorCode)> committed) {
  sink_.append({group_record(group_id, value)}, std::move(committed));
}

}  // namespace klamm::broker
