#include "broker/coordinator/group/consumer/consumer_change.h"

#include <algorithm>

#include "broker/coordinator/group/assignment/topic_regex.h"
#include "broker/coordinator/group/consumer/consumer_records.h"

namespace klamm::broker {
namespace {

// Topics may come many at a time; each group looks at them at most this often.
constexpr int64_t kRegexRefreshMinMs = 1'000;

// Whether all that the member reports is what it was given.
bool is_part_of(const ReportedPartitions& reported, const OwnedPartitions& owned) {
  return reported && std::ranges::all_of(*reported, [&](const auto& topic) {
           const auto found = owned.find(topic.first);
           return found != owned.end() && std::ranges::all_of(topic.second, [&](int32_t each) {
                    return found->second.contains(each);
                  });
         });
}

}  // namespace

Result<> ConsumerChange::check_epoch(const ConsumerMember& member, const ConsumerCaller& caller,
                                     const ReportedPartitions& reported) const {
  if (caller.classic || caller.epoch == kJoinEpoch || caller.epoch == member.epoch) {
    return {};
  }
  // The answer that told of the new epoch may have been lost.
  if (caller.epoch < member.epoch && caller.epoch == member.previous_epoch &&
      is_part_of(reported, member.assigned)) {
    return {};
  }
  return fail(ErrorCode::kFencedMemberEpoch,
              "The member's epoch is " + std::to_string(member.epoch) + ", not " +
                  std::to_string(caller.epoch) + "; it must give up its partitions and rejoin.");
}

// The new member takes over the target of the one before it.
void ConsumerChange::replace(const ConsumerMember& before, const ConsumerMember& after) {
  const Assignment target = draft_.state.target(before.id);
  std::vector<CoordinatorRecord> tombstones;
  add_member_tombstones(draft_.state.id(), before.id, tombstones);
  for (auto& record : tombstones) {
    draft_.emit(std::move(record));
  }
  draft_.emit(consumer_member_record(draft_.state.id(), after));
  draft_.emit(consumer_target_record(draft_.state.id(), after.id, target));
  draft_.emit(consumer_current_record(draft_.state.id(), after));
}

Result<ConsumerMember> ConsumerChange::find_member(const ConsumerCaller& caller,
                                                   const ReportedPartitions& reported) {
  const ConsumerState& group = draft_.state;
  if (group.members().size() >= context_.settings.members_max &&
      group.member(caller.member_id) == nullptr) {
    return fail(ErrorCode::kGroupMaxSizeReached, "The group has " +
                                                     std::to_string(context_.settings.members_max) +
                                                     " members, and no room for more.");
  }
  const ConsumerMember* const known = caller.instance_id ? group.static_member(*caller.instance_id)
                                                         : group.member(caller.member_id);
  if (known == nullptr) {
    if (!caller.joins) {
      return fail(ErrorCode::kUnknownMemberId,
                  caller.instance_id
                      ? "Nobody with instance id " + *caller.instance_id + " is in the group."
                      : "Member " + caller.member_id + " is not in group " + group.id() + ".");
    }
    ConsumerMember fresh;
    fresh.id = caller.member_id;
    return fresh;
  }
  if (!caller.instance_id || !caller.joins) {
    if (known->id != caller.member_id) {
      return fail(ErrorCode::kFencedInstanceId, "Instance id " + *caller.instance_id +
                                                    " is that of member " + known->id + " now.");
    }
    TRY_VOID(check_epoch(*known, caller, reported));
    return *known;
  }
  if (!caller.classic && !known->classic && known->epoch != kLeaveStaticEpoch) {
    return fail(ErrorCode::kUnreleasedInstanceId,
                "Instance id " + *caller.instance_id + " is in use by member " + known->id + ".");
  }
  const ConsumerMember before = *known;
  ConsumerMember after = before;
  after.id = caller.member_id;
  after.epoch = 0;
  after.previous_epoch = 0;
  replace(before, after);
  return after;
}

Result<bool> ConsumerChange::update(const ConsumerMember& before, const ConsumerMember& after) {
  const bool is_new = draft_.state.member(after.id) == nullptr;
  if (after.regex != before.regex && !after.regex.empty()) {
    TRY_VOID(check_topic_regex(after.regex));
  }
  if (is_new || !after.same_metadata(before)) {
    draft_.emit(consumer_member_record(draft_.state.id(), after));
  }
  TRY(const bool topics_changed, follow_regexes(before.regex, after.regex));
  const bool changed = after.topics != before.topics || after.regex != before.regex;
  raise_epoch(changed || topics_changed);
  return changed;
}

void ConsumerChange::forget_regexes() {
  std::vector<std::string> unread;
  for (const auto& [regex, resolved] : draft_.state.regexes()) {
    if (draft_.state.readers_of(regex) == 0) {
      unread.push_back(regex);
    }
  }
  for (const auto& regex : unread) {
    draft_.emit(consumer_tombstone(ConsumerRecord::kRegex, draft_.state.id(), regex));
  }
}

// True when some expression matches other topics than before.
Result<bool> ConsumerChange::follow_regexes(const std::string& before, const std::string& after) {
  if (before != after && !before.empty()) {
    forget_regexes();
  }
  std::set<std::string> in_use;
  for (const auto& [id, member] : draft_.state.members()) {
    if (!member->regex.empty()) {
      in_use.insert(member->regex);
    }
  }
  bool changed = false;
  for (const auto& regex : in_use) {
    const auto known = draft_.state.regexes().find(regex);
    const bool is_new = known == draft_.state.regexes().end();
    if (!is_new) {
      const int64_t age_ms = context_.now_ms - known->second.resolved_ms;
      const bool is_stale = known->second.version < context_.topics_offset;
      if (!(is_stale && age_ms >= kRegexRefreshMinMs) &&
          age_ms < context_.settings.regex_refresh_ms) {
        continue;
      }
    }
    ResolvedRegex resolved{matching_topics(regex, context_.image), context_.image.offset,
                           context_.now_ms};
    changed = changed || is_new || resolved.topics != known->second.topics;
    draft_.emit(consumer_regex_record(draft_.state.id(), regex, resolved));
  }
  return changed;
}

void ConsumerChange::raise_epoch(bool is_needed) {
  if (!is_needed && !context_.metadata_changed) {
    return;
  }
  const ConsumerState& group = draft_.state;
  const int64_t hash = context_.hashes.of(group.subscribed_topics(), context_.image);
  if (is_needed || hash != group.metadata_hash()) {
    draft_.emit(consumer_group_record(group.id(), group.epoch() + 1, hash));
  }
  if (group.has_partition_metadata()) {
    draft_.emit(consumer_tombstone(ConsumerRecord::kPartitionMetadata, group.id()));
  }
}

int32_t heartbeat_interval_ms(const ConsumerSettings& settings, size_t members) {
  constexpr size_t kShortestMs = 1'000;
  constexpr size_t kLongestMs = 5'000;  // Kafka's default
  constexpr size_t kPerMemberMs = 10;
  return settings.heartbeat_interval_ms.value_or(
      static_cast<int32_t>(std::clamp(members * kPerMemberMs, kShortestMs, kLongestMs)));
}

std::string preferred_assignor(const ConsumerState& state, const ConsumerSettings& settings) {
  std::map<std::string, size_t> votes;
  for (const auto& [id, member] : state.members()) {
    if (member->server_assignor) {
      ++votes[*member->server_assignor];
    }
  }
  const auto most =
      std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
  return most == votes.end() ? settings.assignors.front() : most->first;
}

void ConsumerChange::assign() {
  const ConsumerState& group = draft_.state;
  const int64_t interval_ms = context_.settings.assignment_interval_ms;
  if (group.assignment_epoch() >= group.epoch() ||
      (group.assigned_at_ms() > 0 && interval_ms > 0 &&
       context_.now_ms < group.assigned_at_ms() + interval_ms)) {
    return;
  }
  AssignmentTask task;
  for (const auto& [id, member] : group.members()) {
    auto& subscriber = task.subscribers.emplace_back(id, member->instance_id);
    subscriber.before = &group.target(id);
    for (const auto& name : group.topics_of(*member)) {
      if (const auto topic = context_.image.topic(name)) {
        subscriber.topics.insert(topic->id);
        task.partitions[topic->id] = static_cast<int32_t>(topic->partitions.size());
      }
    }
  }
  Assignor assignor = find_consumer_assignor(preferred_assignor(group, context_.settings));
  const Targets targets = (assignor == nullptr ? &assign_uniform : assignor)(task);
  // The targets until now are what `before` points to: they must stay until all is compared.
  std::vector<CoordinatorRecord> records;
  for (const auto& [id, target] : targets) {
    if (!group.has_target(id) || target != group.target(id)) {
      records.push_back(consumer_target_record(group.id(), id, target));
    }
  }
  records.push_back(consumer_target_epoch_record(group.id(), group.epoch(), context_.now_ms));
  for (auto& record : records) {
    draft_.emit(std::move(record));
  }
}

Result<ConsumerMember> ConsumerChange::step(const ConsumerMember& member, bool subscription_changed,
                                            const ReportedPartitions& reported) {
  TRY(ConsumerMember next,
      reconcile({draft_.state, context_.image, subscription_changed, reported}, member));
  if (next != member) {
    draft_.emit(consumer_current_record(draft_.state.id(), next));
  }
  return next;
}

void ConsumerChange::remove(const std::set<std::string>& member_ids) {
  for (const auto& id : member_ids) {
    std::vector<CoordinatorRecord> tombstones;
    add_member_tombstones(draft_.state.id(), id, tombstones);
    for (auto& record : tombstones) {
      draft_.emit(std::move(record));
    }
  }
  forget_regexes();
  raise_epoch(true);
  const ConsumerState& group = draft_.state;
  if (group.members().empty()) {  // nobody is left to have a target
    draft_.emit(consumer_target_epoch_record(group.id(), group.epoch(), 0));
  }
}

}  // namespace klamm::broker
