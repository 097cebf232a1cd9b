// Records in words.
#include "broker/coordinator/group/consumer/consumer_records.h"
#include "broker/coordinator/group/records.h"
#include "broker/coordinator/group/share/share_group_state.h"
#include "broker/coordinator/group/streams/streams_state.h"
#include "broker/coordinator/record_codec.h"
#include "broker/coordinator/scenarios/script.h"
#include "broker/coordinator/transaction/transaction.h"

namespace klamm::broker::scenarios {

using namespace protocol;

namespace {

using TopicName = std::function<std::string(const Uuid&)>;

template <class T>
std::string list(const T& names) {
  std::string text;
  for (const auto& name : names) {
    text += (text.empty() ? "" : ",") + name;
  }
  return text.empty() ? "-" : text;
}

Tasks named(const Assignment& assignment, const TopicName& topic_name) {
  Tasks places;
  for (const auto& [id, partitions] : assignment) {
    places[topic_name(id)] = {partitions.begin(), partitions.end()};
  }
  return places;
}
TaskEpochs named(const OwnedPartitions& owned, const TopicName& topic_name) {
  TaskEpochs places;
  for (const auto& [id, partitions] : owned) {
    places[topic_name(id)] = partitions;
  }
  return places;
}

std::string epochs(int32_t before, int32_t now) {
  return std::to_string(before) + ">" + std::to_string(now);
}

// The name behind the group's in a key: of a member, or a regular expression.
std::string name_in(const CoordinatorRecord& record) {
  Reader key(record.key);
  (void)key.fixed<int16_t>();
  (void)key.string(false);
  std::string name = key.string(false);
  return key.ok() ? name : "";
}

// What a group is once it has this record alone tells what the record says.
template <class State>
State state_of(const CoordinatorRecord& record) {
  State state("");
  state.apply(record);
  return state;
}

std::string consumer_text(ConsumerRecord type, const CoordinatorRecord& record,
                          const TopicName& topic_name) {
  const auto state = state_of<ConsumerState>(record);
  const std::string name = name_in(record);
  switch (type) {
    case ConsumerRecord::kGroup: return "group " + std::to_string(state.epoch());
    case ConsumerRecord::kMember: {
      const ConsumerMember& member = *state.member(name);
      return "member " + name + " topics=" + list(member.topics) +
             (member.regex.empty() ? "" : " regex=" + member.regex) +
             (member.instance_id ? " instance=" + *member.instance_id : "") +
             (member.classic ? " classic" : "");
    }
    case ConsumerRecord::kTargetEpoch:
      return "target-epoch " + std::to_string(state.assignment_epoch());
    case ConsumerRecord::kTarget:
      return "target " + name + " " + text_of(named(state.target(name), topic_name));
    case ConsumerRecord::kCurrent: {
      const ConsumerMember& member = *state.member(name);
      static const std::map<MemberState, std::string> kStates = {
          {MemberState::kStable, "stable"},
          {MemberState::kUnrevokedPartitions, "unrevoked"},
          {MemberState::kUnreleasedPartitions, "unreleased"}};
      return "current " + name + " " + epochs(member.previous_epoch, member.epoch) + " " +
             kStates.at(member.state) + " has=" + text_of(named(member.assigned, topic_name)) +
             " gives-back=" + text_of(named(member.pending_revocation, topic_name));
    }
    case ConsumerRecord::kRegex:
      return "regex " + name + " topics=" + list(state.regexes().at(name).topics);
    case ConsumerRecord::kPartitionMetadata: return "partition-metadata";
  }
  return "?";
}

Tasks shared(const std::map<Uuid, NamedPartitions>& topics) {
  Tasks places;
  for (const auto& [id, topic] : topics) {
    places[topic.name] = topic.partitions;
  }
  return places;
}

std::string share_text(ShareRecord type, const CoordinatorRecord& record,
                       const TopicName& topic_name) {
  const auto state = state_of<ShareGroupState>(record);
  const std::string name = name_in(record);
  switch (type) {
    case ShareRecord::kGroup: return "group " + std::to_string(state.epoch());
    case ShareRecord::kMember:
      return "member " + name + " topics=" + list(state.member(name)->topics);
    case ShareRecord::kTargetEpoch:
      return "target-epoch " + std::to_string(state.assignment_epoch());
    case ShareRecord::kTarget:
      return "target " + name + " " + text_of(named(state.target(name), topic_name));
    case ShareRecord::kCurrent: {
      const ShareMember& member = *state.member(name);
      return "current " + name + " " + epochs(member.previous_epoch, member.epoch) +
             " has=" + text_of(named(member.assigned, topic_name));
    }
    case ShareRecord::kPartitions:
      return "share-partitions initializing=" + text_of(shared(state.shared().initializing)) +
             " initialized=" + text_of(shared(state.shared().initialized));
  }
  return "?";
}

std::string streams_text(StreamsRecord type, const CoordinatorRecord& record) {
  const auto state = state_of<StreamsState>(record);
  const std::string name = name_in(record);
  const auto tasks = [](const auto& sets) {
    return "active=" + text_of(sets.active) + " standby=" + text_of(sets.standby) +
           (sets.warmup.empty() ? "" : " warmup=" + text_of(sets.warmup));
  };
  switch (type) {
    case StreamsRecord::kGroup:
      return "group " + std::to_string(state.epoch()) +
             " validated=" + std::to_string(state.validated_topology_epoch());
    case StreamsRecord::kMember:
      return "member " + name + " process=" + state.member(name)->process_id;
    case StreamsRecord::kTargetEpoch:
      return "target-epoch " + std::to_string(state.assignment_epoch());
    case StreamsRecord::kTarget: return "target " + name + " " + tasks(state.target(name));
    case StreamsRecord::kCurrent: {
      const StreamsMember& member = *state.member(name);
      static const std::map<StreamsMemberState, std::string> kStates = {
          {StreamsMemberState::kStable, "stable"},
          {StreamsMemberState::kUnrevokedTasks, "unrevoked"},
          {StreamsMemberState::kUnreleasedTasks, "unreleased"}};
      return "current " + name + " " + epochs(member.previous_epoch, member.epoch) + " " +
             kStates.at(member.state) + " has " + tasks(member.assigned) + " gives back " +
             tasks(member.pending_revocation);
    }
    case StreamsRecord::kTopology:
      return "topology " + std::to_string(state.topology()->epoch) + " of " +
             std::to_string(state.topology()->subtopologies.size()) + " subtopologies";
  }
  return "?";
}

std::string classic_text(const CoordinatorRecord& record) {
  const ParsedRecord parsed = parse_group_record(record);
  if (const auto* offset = std::get_if<ParsedOffset>(&parsed)) {
    return "offset " + offset->key.topic + ":" + std::to_string(offset->key.partition) + " " +
           (offset->value ? std::to_string(offset->value->offset) : "forgotten");
  }
  const auto& group = std::get<ParsedGroup>(parsed);
  if (!group.value) {
    return "group forgotten";
  }
  std::vector<std::string> members;
  for (const auto& member : group.value->members) {
    members.push_back(member.member_id + "=" + std::string(member.assignment.view()));
  }
  return "group generation " + std::to_string(group.value->generation) + " " +
         group.value->protocol.value_or("-") + " leader=" + group.value->leader.value_or("-") +
         " members " + list(members);
}

template <class Type, class Text>
std::string or_forgotten(Type type, const CoordinatorRecord& record, Text text) {
  return record.value ? text(type, record)
                      : "type " + std::to_string(static_cast<int16_t>(type)) + " " +
                            name_in(record) + " forgotten";
}

}  // namespace

std::string text_of(const CoordinatorRecord& record, const TopicName& topic_name) {
  const auto type = Reader(record.key).fixed<int16_t>();
  if (type <= 2) {
    return classic_text(record);
  }
  if (type <= 8 || type == 16) {
    return or_forgotten(static_cast<ConsumerRecord>(type), record, [&](auto of, const auto& each) {
      return consumer_text(of, each, topic_name);
    });
  }
  if (type <= 15) {
    return or_forgotten(static_cast<ShareRecord>(type), record, [&](auto of, const auto& each) {
      return share_text(of, each, topic_name);
    });
  }
  return or_forgotten(static_cast<StreamsRecord>(type), record,
                      [](auto of, const auto& each) { return streams_text(of, each); });
}

}  // namespace klamm::broker::scenarios
