#include "broker/coordinator/group/consumer/consumer_state.h"

#include <algorithm>

#include "broker/coordinator/group/consumer/consumer_records.h"
#include "broker/coordinator/group/member_records.h"
#include "protocol/generated/consumer_group_current_member_assignment_key.h"
#include "protocol/generated/consumer_group_current_member_assignment_value.h"
#include "protocol/generated/consumer_group_member_metadata_key.h"
#include "protocol/generated/consumer_group_metadata_value.h"
#include "protocol/generated/consumer_group_regular_expression_key.h"
#include "protocol/generated/consumer_group_regular_expression_value.h"
#include "protocol/generated/consumer_group_target_assignment_member_key.h"
#include "protocol/generated/consumer_group_target_assignment_member_value.h"
#include "protocol/generated/consumer_group_target_assignment_metadata_value.h"

namespace klamm::broker {

using namespace protocol;

namespace {

// Records of Kafka before 4.3 have no epochs of partitions; `fallback` is the member's.
OwnedPartitions owned_of(
    const std::vector<ConsumerGroupCurrentMemberAssignmentValue::TopicPartitions>& topics,
    int32_t fallback) {
  OwnedPartitions owned;
  for (const auto& topic : topics) {
    const auto& epochs = topic.assignment_epochs;
    const bool known = epochs && epochs->size() == topic.partitions.size();
    for (size_t i = 0; i < topic.partitions.size(); ++i) {
      owned[topic.topic_id][topic.partitions[i]] = known ? (*epochs)[i] : std::max(fallback, 0);
    }
  }
  return owned;
}

MemberState state_of(int8_t value) {
  return value >= 0 && value <= static_cast<int8_t>(MemberState::kUnreleasedPartitions)
             ? static_cast<MemberState>(value)
             : MemberState::kUnknown;
}

// The rest of a key of this type, and its value: nothing for a tombstone. False when either cannot
// be read.
template <class Key, class Value>
bool read(const CoordinatorRecord& record, Key& key, std::optional<Value>& value) {
  Reader in(record.key);
  (void)in.fixed<int16_t>();
  auto read_key = read_message<Key>(in, 0);
  if (!read_key || !read_value(record, value)) {
    return false;
  }
  key = std::move(*read_key);
  return true;
}

}  // namespace

bool ConsumerMember::same_metadata(const ConsumerMember& other) const {
  return instance_id == other.instance_id && rack_id == other.rack_id &&
         client_id == other.client_id && client_host == other.client_host &&
         rebalance_timeout_ms == other.rebalance_timeout_ms && topics == other.topics &&
         regex == other.regex && server_assignor == other.server_assignor &&
         classic == other.classic;
}

// Who has a copy of the state keeps the member as it was.
ConsumerMember& ConsumerState::change(const std::string& member_id) {
  MemberPtr& member = members_.edit()[member_id];
  auto changed = member == nullptr ? std::make_shared<ConsumerMember>()
                                   : std::make_shared<ConsumerMember>(*member);
  changed->id = member_id;
  member = changed;
  return *changed;
}

namespace {

void take_metadata(ConsumerMember& member, ConsumerGroupMemberMetadataValue&& value) {
  member.instance_id = std::move(value.instance_id);
  member.rack_id = std::move(value.rack_id);
  member.client_id = std::move(value.client_id);
  member.client_host = std::move(value.client_host);
  member.topics = {value.subscribed_topic_names.begin(), value.subscribed_topic_names.end()};
  member.regex = value.subscribed_topic_regex.value_or("");
  member.rebalance_timeout_ms = value.rebalance_timeout_ms;
  member.server_assignor = std::move(value.server_assignor);
  member.classic = std::move(value.classic_member_metadata);
  if (member.classic) {
    for (auto& protocol : member.classic->supported_protocols) {
      // What was read shares the whole batch's buffer.
      protocol.metadata = Bytes::copy_of(protocol.metadata.span());
    }
  }
}

void take_current(ConsumerMember& member,
                  const std::optional<ConsumerGroupCurrentMemberAssignmentValue>& value) {
  if (!value) {
    member.epoch = kLeaveEpoch;
    member.previous_epoch = kLeaveEpoch;
    member.assigned.clear();
    member.pending_revocation.clear();
    return;
  }
  member.epoch = value->member_epoch;
  member.previous_epoch = value->previous_member_epoch;
  member.state = state_of(value->state);
  member.assigned = owned_of(value->assigned_partitions, value->member_epoch);
  member.pending_revocation = owned_of(value->partitions_pending_revocation, value->member_epoch);
}

}  // namespace

void ConsumerState::apply(const CoordinatorRecord& record) {
  switch (static_cast<ConsumerRecord>(Reader(record.key).fixed<int16_t>())) {
    case ConsumerRecord::kGroup:
      if (std::optional<ConsumerGroupMetadataValue> value; read_value(record, value) && value) {
        epoch_ = value->epoch;
        metadata_hash_ = value->metadata_hash;
      }
      return;
    case ConsumerRecord::kPartitionMetadata:
      has_partition_metadata_ = record.value.has_value();
      return;
    case ConsumerRecord::kTargetEpoch: {
      std::optional<ConsumerGroupTargetAssignmentMetadataValue> value;
      if (read_value(record, value)) {
        assignment_epoch_ = value ? value->assignment_epoch : -1;
        assigned_at_ms_ = value ? value->assignment_timestamp : 0;
      }
      return;
    }
    case ConsumerRecord::kMember: {
      ConsumerGroupMemberMetadataKey key;
      std::optional<ConsumerGroupMemberMetadataValue> value;
      if (!read(record, key, value)) {
        return;
      }
      value ? take_metadata(change(key.member_id), std::move(*value))
            : void(members_.edit().erase(key.member_id));
      return;
    }
    case ConsumerRecord::kTarget: {
      ConsumerGroupTargetAssignmentMemberKey key;
      std::optional<ConsumerGroupTargetAssignmentMemberValue> value;
      if (!read(record, key, value)) {
        return;
      }
      if (value) {
        targets_.edit()[key.member_id] =
            std::make_shared<Assignment>(assignment_of(value->topic_partitions));
      } else {
        targets_.edit().erase(key.member_id);
      }
      return;
    }
    case ConsumerRecord::kCurrent: {
      ConsumerGroupCurrentMemberAssignmentKey key;
      std::optional<ConsumerGroupCurrentMemberAssignmentValue> value;
      if (read(record, key, value) && (value || members_->contains(key.member_id))) {
        take_current(change(key.member_id), value);
      }
      return;
    }
    case ConsumerRecord::kRegex: {
      ConsumerGroupRegularExpressionKey key;
      std::optional<ConsumerGroupRegularExpressionValue> value;
      if (!read(record, key, value)) {
        return;
      }
      if (value) {
        regexes_.edit()[key.regular_expression] = {
            {value->topics.begin(), value->topics.end()}, value->version, value->timestamp};
      } else {
        regexes_.edit().erase(key.regular_expression);
      }
      return;
    }
  }
}

bool ConsumerState::operator==(const ConsumerState& other) const {
  const auto same = [](const auto& a, const auto& b) { return *a.second == *b.second; };
  return id_ == other.id_ && epoch_ == other.epoch_ && metadata_hash_ == other.metadata_hash_ &&
         assignment_epoch_ == other.assignment_epoch_ && assigned_at_ms_ == other.assigned_at_ms_ &&
         has_partition_metadata_ == other.has_partition_metadata_ && *regexes_ == *other.regexes_ &&
         std::ranges::equal(*members_, *other.members_, same) &&
         std::ranges::equal(*targets_, *other.targets_, [&](const auto& a, const auto& b) {
           return a.first == b.first && same(a, b);
         });
}

const ConsumerMember* ConsumerState::member(const std::string& member_id) const {
  const auto found = members_->find(member_id);
  return found == members_->end() ? nullptr : found->second.get();
}

const ConsumerMember* ConsumerState::static_member(const std::string& instance_id) const {
  const auto found = std::ranges::find_if(
      *members_, [&](const auto& each) { return each.second->instance_id == instance_id; });
  return found == members_->end() ? nullptr : found->second.get();
}

const Assignment& ConsumerState::target(const std::string& member_id) const {
  static const Assignment kNothing;
  const auto found = targets_->find(member_id);
  return found == targets_->end() ? kNothing : *found->second;
}

size_t ConsumerState::readers_of(const std::string& regex) const {
  return static_cast<size_t>(std::ranges::count_if(
      *members_, [&](const auto& each) { return each.second->regex == regex; }));
}

std::set<std::string> ConsumerState::topics_of(const ConsumerMember& member) const {
  std::set<std::string> topics = member.topics;
  if (const auto resolved = regexes_->find(member.regex); resolved != regexes_->end()) {
    topics.insert(resolved->second.topics.begin(), resolved->second.topics.end());
  }
  return topics;
}

std::set<std::string> ConsumerState::subscribed_topics() const {
  std::set<std::string> topics;
  for (const auto& [id, member] : *members_) {
    topics.insert(member->topics.begin(), member->topics.end());
  }
  for (const auto& [regex, resolved] : *regexes_) {
    topics.insert(resolved.topics.begin(), resolved.topics.end());
  }
  return topics;
}

bool ConsumerState::is_owned(const Uuid& topic, int32_t partition,
                             const ConsumerMember& except) const {
  const auto holds = [&](const OwnedPartitions& owned) {
    const auto found = owned.find(topic);
    return found != owned.end() && found->second.contains(partition);
  };
  return std::ranges::any_of(*members_, [&](const auto& each) {
    return holds(each.second->assigned) ||
           (each.first != except.id && holds(each.second->pending_revocation));
  });
}

bool ConsumerState::all_classic_without(const std::set<std::string>& leaving) const {
  return std::ranges::all_of(*members_, [&](const auto& each) {
    return leaving.contains(each.first) || each.second->classic.has_value();
  });
}

}  // namespace klamm::broker
