// Who may commit, read and delete a group's offsets.
#include "broker/coordinator/group/group_shard.h"

namespace klamm::broker {

using namespace protocol;

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

// Whether the member has held the partition since that epoch.
bool has_held(const ConsumerMember& member, const Uuid& topic, int32_t partition, int32_t epoch) {
  for (const auto* owned : {&member.assigned, &member.pending_revocation}) {
    if (const auto found = owned->find(topic); found != owned->end()) {
      if (const auto since = found->second.find(partition); since != found->second.end()) {
        return epoch >= since->second;
      }
    }
  }
  return false;
}

// A member may be an epoch behind, for partitions that have stayed with it (KIP-1251).
ErrorCode check_member_commit(const ConsumerState& group, const CommitRequest& request) {
  const bool anonymous =
      request.generation == -1 && request.member_id.empty() && !request.instance_id;
  if ((request.generation < 0 && group.members().empty()) || (request.transaction && anonymous)) {
    return ErrorCode::kNone;
  }
  const ConsumerMember* const member = group.member(request.member_id);
  if (member == nullptr) {
    return ErrorCode::kUnknownMemberId;
  }
  if (!request.transaction && !member->classic && !request.knows_member_epochs) {
    return ErrorCode::kUnsupportedVersion;
  }
  const bool held = std::ranges::all_of(request.offsets, [&](const OffsetToCommit& offset) {
    return has_held(*member, offset.value.topic_id, offset.partition, request.generation);
  });
  if (request.generation == member->epoch || (request.generation < member->epoch && held)) {
    return ErrorCode::kNone;
  }
  return member->classic || request.transaction ? ErrorCode::kIllegalGeneration
                                                : ErrorCode::kStaleMemberEpoch;
}

// Whether the member has run the task since that epoch.
bool has_run(const StreamsMember& member, const std::string& subtopology, int32_t partition,
             int32_t epoch) {
  for (const auto* owned : {&member.assigned.active, &member.pending_revocation.active}) {
    if (contains(*owned, subtopology, partition)) {
      return epoch >= owned->at(subtopology).at(partition);
    }
  }
  return false;
}

// The same for a member of a streams group and its tasks.
ErrorCode check_member_commit(const StreamsState& group, const CommitRequest& request) {
  const bool anonymous =
      request.generation == -1 && request.member_id.empty() && !request.instance_id;
  if ((request.generation < 0 && group.members().empty()) || (request.transaction && anonymous)) {
    return ErrorCode::kNone;
  }
  const StreamsMember* const member = group.member(request.member_id);
  if (member == nullptr) {
    return ErrorCode::kUnknownMemberId;
  }
  if (!request.transaction && !request.knows_member_epochs) {
    return ErrorCode::kUnsupportedVersion;
  }
  const bool held = std::ranges::all_of(request.offsets, [&](const OffsetToCommit& offset) {
    const auto* const reader =
        group.topology() == nullptr ? nullptr : reader_of(*group.topology(), offset.topic);
    return reader != nullptr &&
           has_run(*member, reader->subtopology_id, offset.partition, request.generation);
  });
  if (request.generation == member->epoch || (request.generation < member->epoch && held)) {
    return ErrorCode::kNone;
  }
  return request.transaction ? ErrorCode::kIllegalGeneration : ErrorCode::kStaleMemberEpoch;
}

}  // namespace

ErrorCode GroupShard::check_commit(const CommitRequest& request, int64_t now_ms) {
  if (auto* const classic = find<ClassicGroup>(request.group_id)) {
    const ErrorCode error =
        classic->check_commit(request.member_id, request.instance_id, request.generation,
                              request.transaction.has_value(), now_ms);
    reschedule(request.group_id);
    return error;
  }
  if (const auto* const consumer = find<ConsumerGroup>(request.group_id)) {
    return check_member_commit(consumer->state(), request);
  }
  if (const auto* const streams = find<StreamsGroup>(request.group_id)) {
    return check_member_commit(streams->state(), request);
  }
  // Whoever keeps offsets here without being a member needs no group; a member of one that is gone
  // has lost it.
  if (request.generation < 0) {
    return ErrorCode::kNone;
  }
  if (offsets_.knows(request.group_id)) {
    return ErrorCode::kUnknownMemberId;
  }
  return request.knows_member_epochs && !request.transaction ? ErrorCode::kGroupIdNotFound
                                                             : ErrorCode::kIllegalGeneration;
}

void GroupShard::commit(const CommitRequest& request, int64_t now_ms, Respond<ErrorCode> respond) {
  const ErrorCode error = check_commit(request, now_ms);
  if (error != ErrorCode::kNone || request.offsets.empty()) {
    return respond(error);
  }
  auto done = copyable(std::move(respond));
  request.transaction
      ? sink_.append_in_transaction(*request.transaction, records_of(request), std::move(done))
      : sink_.append(records_of(request), std::move(done));
}

ErrorCode GroupShard::check_fetch(const std::string& group_id,
                                  const std::optional<std::string>& member_id,
                                  int32_t member_epoch) const {
  if (!member_id && member_epoch < 0) {
    return ErrorCode::kNone;
  }
  if (const auto* const streams = find<StreamsGroup>(group_id)) {
    const StreamsMember* const member = streams->state().member(member_id.value_or(""));
    return member == nullptr               ? ErrorCode::kUnknownMemberId
           : member_epoch == member->epoch ? ErrorCode::kNone
                                           : ErrorCode::kStaleMemberEpoch;
  }
  const auto* const group = find<ConsumerGroup>(group_id);
  if (group == nullptr) {
    return ErrorCode::kNone;
  }
  const ConsumerMember* const member = group->state().member(member_id.value_or(""));
  if (member == nullptr) {
    return ErrorCode::kUnknownMemberId;
  }
  return member_epoch == member->epoch ? ErrorCode::kNone
         : member->classic             ? ErrorCode::kIllegalGeneration
                                       : ErrorCode::kStaleMemberEpoch;
}

void GroupShard::remove_offsets(const OffsetDeleteRequest& request,
                                Respond<OffsetDeleteResponse> respond) {
  const Group* const group = find(request.group_id);
  if (group == nullptr && !offsets_.knows(request.group_id)) {
    return respond({.error_code = ErrorCode::kGroupIdNotFound});
  }
  const bool has_members = group != nullptr && !group->is_empty();
  const auto* const classic = dynamic_cast<const ClassicGroup*>(group);
  if (has_members && classic != nullptr && !classic->is_of_consumers()) {
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
  write(std::move(records),
        [respond = copyable(std::move(respond)), response = std::move(response)](ErrorCode code) {
          respond(code == ErrorCode::kNone ? response : OffsetDeleteResponse{.error_code = code});
        });
}

}  // namespace klamm::broker
