#include "broker/coordinator/group/consumer/consumer_group.h"

#include <algorithm>

#include "broker/coordinator/group/consumer/consumer_records.h"

namespace klamm::broker {

using Described = protocol::ConsumerGroupDescribeResponse::DescribedGroup;

void ConsumerGroup::apply(const CoordinatorRecord& record) {
  state_.apply(record);
  if (!record.value) {
    std::erase_if(times_, [&](const auto& each) { return state_.member(each.first) == nullptr; });
  }
}

std::string_view ConsumerGroup::state_name() const {
  if (state_.members().empty()) {
    return "Empty";
  }
  if (state_.epoch() > state_.assignment_epoch()) {
    return "Assigning";
  }
  const bool settled = std::ranges::all_of(
      state_.members(), [&](const auto& each) { return state_.is_stable_at_target(*each.second); });
  return settled ? "Stable" : "Reconciling";
}

bool ConsumerGroup::is_subscribed(const std::string& topic) const {
  return std::ranges::any_of(state_.members(), [&](const auto& each) {
    return state_.topics_of(*each.second).contains(topic);
  });
}

void ConsumerGroup::add_tombstones(std::vector<CoordinatorRecord>& records) const {
  auto tombstones = consumer_group_tombstones(state_);
  std::move(tombstones.begin(), tombstones.end(), std::back_inserter(records));
}

std::optional<int64_t> ConsumerGroup::Times::first() const {
  std::optional<int64_t> first;
  for (const auto& time : {session, revocation, join, sync}) {
    if (time && (!first || *time < *first)) {
      first = time;
    }
  }
  return first;
}

std::optional<int64_t> ConsumerGroup::next_deadline() const {
  std::optional<int64_t> first;
  for (const auto& [id, times] : times_) {
    if (const auto time = times.first(); time && (!first || *time < *first)) {
      first = time;
    }
  }
  return first;
}

std::set<std::string> ConsumerGroup::overdue(int64_t now_ms) const {
  std::set<std::string> ids;
  for (const auto& [id, times] : times_) {
    if (const auto time = times.first(); time && *time <= now_ms) {
      ids.insert(id);
    }
  }
  return ids;
}

void ConsumerGroup::touch(const std::string& member_id, int32_t session_timeout_ms,
                          int64_t now_ms) {
  const ConsumerMember* const member = state_.member(member_id);
  if (member == nullptr) {
    return;
  }
  Times& times = times_[member_id];
  times.session = now_ms + session_timeout_ms;
  if (member->state != MemberState::kUnrevokedPartitions || member->classic) {
    times.revocation.reset();
  } else if (!times.revocation || times.revocation_epoch != member->epoch) {
    times.revocation = now_ms + member->rebalance_timeout_ms;
    times.revocation_epoch = member->epoch;
  }
}

void ConsumerGroup::await_join(const std::string& member_id, int64_t now_ms) {
  Times& times = times_[member_id];
  if (!times.join) {
    times.join = now_ms + state_.member(member_id)->rebalance_timeout_ms;
  }
}

void ConsumerGroup::await_sync(const std::string& member_id, int64_t now_ms) {
  if (const ConsumerMember* const member = state_.member(member_id)) {
    Times& times = times_[member_id];
    times.join.reset();
    times.sync = now_ms + member->rebalance_timeout_ms;
  }
}

void ConsumerGroup::postpone(const std::set<std::string>& member_ids, int64_t until_ms) {
  for (const auto& id : member_ids) {
    times_[id] = {.session = until_ms};
  }
}

void ConsumerGroup::start_sessions(const ConsumerSettings& settings, int64_t now_ms) {
  for (const auto& [id, member] : state_.members()) {
    if (!times_[id].session) {
      touch(id, session_timeout_of(*member, settings), now_ms);
    }
  }
}

int32_t session_timeout_of(const ConsumerMember& member, const ConsumerSettings& settings) {
  return member.classic ? member.classic->session_timeout_ms : settings.session_timeout_ms;
}

namespace {

using DescribedAssignment = protocol::ConsumerGroupDescribeResponse::Assignment;

DescribedAssignment described(const Assignment& assignment,
                              const replication::MetadataImage& image) {
  DescribedAssignment out;
  for (const auto& [id, partitions] : assignment) {
    if (const auto topic = image.topic(id)) {
      auto& entry = out.topic_partitions.emplace_back();
      entry.topic_id = id;
      entry.topic_name = topic->name;
      entry.partitions.assign(partitions.begin(), partitions.end());
    }
  }
  return out;
}

}  // namespace

Described ConsumerGroup::describe(const ConsumerSettings& settings,
                                  const replication::MetadataImage& image) const {
  Described out;
  out.group_id = state_.id();
  out.group_state = state_name();
  out.group_epoch = state_.epoch();
  out.assignment_epoch = state_.assignment_epoch();
  out.assignor_name = preferred_assignor(state_, settings);
  for (const auto& [id, member] : state_.members()) {
    // What it has to give back it is still responsible for.
    Assignment held;
    for (const auto* owned : {&member->assigned, &member->pending_revocation}) {
      for (const auto& [topic, partitions] : *owned) {
        for (const auto& [partition, epoch] : partitions) {
          held[topic].insert(partition);
        }
      }
    }
    auto& each = out.members.emplace_back();
    each.member_id = id;
    each.instance_id = member->instance_id;
    each.rack_id = member->rack_id;
    each.member_epoch = member->epoch;
    each.client_id = member->client_id;
    each.client_host = member->client_host;
    each.subscribed_topic_names.assign(member->topics.begin(), member->topics.end());
    each.subscribed_topic_regex = member->regex;
    each.assignment = described(held, image);
    each.target_assignment = described(state_.target(id), image);
    each.member_type = member->classic ? 0 : 1;
  }
  return out;
}

}  // namespace klamm::broker
