#include "broker/coordinator/group/share/share_group.h"

#include <algorithm>

namespace klamm::broker {

using namespace protocol;

void ShareGroup::apply(const CoordinatorRecord& record) {
  state_.apply(record);
  if (!record.value) {
    std::erase_if(sessions_,
                  [&](const auto& each) { return state_.member(each.first) == nullptr; });
  }
}

void ShareGroup::add_tombstones(std::vector<CoordinatorRecord>& records) const {
  for (const auto type :
       {ShareRecord::kTargetEpoch, ShareRecord::kPartitions, ShareRecord::kGroup}) {
    records.push_back(share_tombstone(type, state_.id()));
  }
}

std::optional<int64_t> ShareGroup::next_deadline() const {
  const auto first =
      std::ranges::min_element(sessions_, {}, [](const auto& each) { return each.second; });
  return first == sessions_.end() ? std::nullopt : std::optional(first->second);
}

std::set<std::string> ShareGroup::overdue(int64_t now_ms) const {
  std::set<std::string> ids;
  for (const auto& [id, end] : sessions_) {
    if (end <= now_ms) {
      ids.insert(id);
    }
  }
  return ids;
}

void ShareGroup::start_sessions(int32_t session_timeout_ms, int64_t now_ms) {
  for (const auto& [id, member] : state_.members()) {
    touch(id, session_timeout_ms, now_ms);
  }
}

ShareGroupDescribeResponse::DescribedGroup ShareGroup::describe(
    const replication::MetadataImage& image) const {
  ShareGroupDescribeResponse::DescribedGroup out;
  out.group_id = state_.id();
  out.group_state = state_name();
  out.group_epoch = state_.epoch();
  out.assignment_epoch = state_.assignment_epoch();
  out.assignor_name = "simple";
  for (const auto& [id, member] : state_.members()) {
    auto& each = out.members.emplace_back();
    each.member_id = id;
    each.rack_id = member.rack_id;
    each.member_epoch = member.epoch;
    each.client_id = member.client_id;
    each.client_host = member.client_host;
    each.subscribed_topic_names.assign(member.topics.begin(), member.topics.end());
    for (const auto& [topic_id, partitions] : member.assigned) {
      if (const auto topic = image.topic(topic_id)) {
        each.assignment.topic_partitions.push_back(
            {.topic_id = topic_id,
             .topic_name = topic->name,
             .partitions = {partitions.begin(), partitions.end()}});
      }
    }
  }
  return out;
}

namespace {

Result<ShareMember> find_member(const ShareGroupState& group, const ShareContext& context,
                                const ShareGroupHeartbeatRequest& request) {
  const ShareMember* const known = group.member(request.member_id);
  if (known == nullptr && group.members().size() >= context.settings.members_max) {
    return fail(ErrorCode::kGroupMaxSizeReached, "The group has " +
                                                     std::to_string(context.settings.members_max) +
                                                     " members, and no room for more.");
  }
  if (known == nullptr) {
    if (request.member_epoch != 0) {
      return fail(ErrorCode::kUnknownMemberId,
                  "Member " + request.member_id + " is not in group " + group.id() + ".");
    }
    ShareMember fresh;
    fresh.id = request.member_id;
    return fresh;
  }
  if (request.member_epoch != 0 && request.member_epoch != known->epoch &&
      request.member_epoch != known->previous_epoch) {
    return fail(ErrorCode::kFencedMemberEpoch,
                "The member's epoch is " + std::to_string(known->epoch) + ", not " +
                    std::to_string(request.member_epoch) + "; it must rejoin.");
  }
  return *known;
}

void raise_epoch(ShareDraft& draft, const ShareContext& context, bool is_needed) {
  if (!is_needed && !context.metadata_changed) {
    return;
  }
  const ShareGroupState& group = draft.state;
  const int64_t hash = context.hashes.of(group.subscribed_topics(), context.image);
  if (is_needed || hash != group.metadata_hash()) {
    draft.emit(share_group_record(group.id(), group.epoch() + 1, hash));
  }
}

// The topic's partitions that may be given to members.
const SortedSet<int32_t>* initialized_of(const ShareGroupState& group, const Uuid& topic) {
  const auto found = group.shared().initialized.find(topic);
  return found == group.shared().initialized.end() ? nullptr : &found->second.partitions;
}

void assign(ShareDraft& draft, const ShareContext& context) {
  const ShareGroupState& group = draft.state;
  const int64_t interval_ms = context.settings.assignment_interval_ms;
  if (group.assignment_epoch() >= group.epoch() ||
      (group.assigned_at_ms() > 0 && interval_ms > 0 &&
       context.now_ms < group.assigned_at_ms() + interval_ms)) {
    return;
  }
  AssignmentTask task;
  for (const auto& [id, member] : group.members()) {
    auto& subscriber = task.subscribers.emplace_back(id);
    subscriber.before = &group.target(id);
    for (const auto& name : member.topics) {
      const auto topic = context.image.topic(name);
      const auto* const partitions = topic == nullptr ? nullptr : initialized_of(group, topic->id);
      if (partitions != nullptr) {
        subscriber.topics.insert(topic->id);
        // They are initialized from the first to the last.
        task.partitions[topic->id] = static_cast<int32_t>(partitions->size());
      }
    }
  }
  std::vector<CoordinatorRecord> records;
  for (const auto& [id, target] : assign_simple(task)) {
    if (!group.has_target(id) || target != group.target(id)) {
      records.push_back(share_target_record(group.id(), id, target));
    }
  }
  records.push_back(share_target_epoch_record(group.id(), group.epoch(), context.now_ms));
  for (auto& record : records) {
    draft.emit(std::move(record));
  }
}

// Nobody has to give anything back first: a member takes its target at once.
ShareMember at_target(const ShareGroupState& group, ShareMember member,
                      const replication::MetadataImage& image) {
  if (member.epoch != group.assignment_epoch()) {
    member.previous_epoch = member.epoch;
    member.epoch = group.assignment_epoch();
  }
  member.assigned.clear();
  for (const auto& [topic_id, partitions] : group.target(member.id)) {
    const auto topic = image.topic(topic_id);
    if (topic != nullptr && member.topics.contains(topic->name)) {
      member.assigned[topic_id] = partitions;
    }
  }
  return member;
}

}  // namespace

Result<std::pair<ShareMember, ShareMember>> take_share_heartbeat(
    ShareDraft& draft, const ShareContext& context, const ShareGroupHeartbeatRequest& request,
    const std::string& client_id, const std::string& client_host) {
  TRY(const ShareMember before, find_member(draft.state, context, request));
  ShareMember spoken = before;
  if (request.rack_id) {
    spoken.rack_id = request.rack_id;
  }
  if (request.subscribed_topic_names) {
    spoken.topics = {request.subscribed_topic_names->begin(),
                     request.subscribed_topic_names->end()};
  }
  spoken.client_id = client_id;
  spoken.client_host = client_host;
  if (draft.state.member(spoken.id) == nullptr || !spoken.same_metadata(before)) {
    draft.emit(share_member_record(draft.state.id(), spoken));
  }
  const bool is_settled = draft.state.assignment_epoch() >= draft.state.epoch();
  raise_epoch(draft, context,
              spoken.topics != before.topics || (is_settled && draft.state.has_unassigned()));
  assign(draft, context);
  const ShareMember after = at_target(draft.state, spoken, context.image);
  if (after != spoken) {
    draft.emit(share_current_record(draft.state.id(), after));
  }
  return std::pair(before, after);
}

void remove_share_members(ShareDraft& draft, const ShareContext& context,
                          const std::set<std::string>& member_ids) {
  for (const auto& id : member_ids) {
    for (const auto type : {ShareRecord::kCurrent, ShareRecord::kTarget, ShareRecord::kMember}) {
      draft.emit(share_tombstone(type, draft.state.id(), id));
    }
  }
  raise_epoch(draft, context, true);
  const ShareGroupState& group = draft.state;
  if (group.members().empty()) {  // nobody is left to have a target
    draft.emit(share_target_epoch_record(group.id(), group.epoch(), 0));
  }
}

std::map<Uuid, NamedPartitions> uninitialized(const ShareGroupState& group,
                                              const replication::MetadataImage& image) {
  std::map<Uuid, NamedPartitions> missing;
  for (const auto& name : group.subscribed_topics()) {
    const auto topic = image.topic(name);
    if (topic == nullptr) {
      continue;
    }
    const auto* const known = initialized_of(group, topic->id);
    for (const auto& [partition, unused] : topic->partitions) {
      if (known == nullptr || !known->contains(partition)) {
        missing[topic->id].name = name;
        missing[topic->id].partitions.insert(partition);
      }
    }
  }
  return missing;
}

}  // namespace klamm::broker
