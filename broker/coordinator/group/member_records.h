#pragma once
// What the records of consumer, share and streams groups have in common: keys by group and member,
// and assignments as lists of topics.
#include <optional>
#include <string>

#include "broker/coordinator/group/assignment/assignor.h"
#include "broker/coordinator/record_codec.h"

namespace klamm::broker {

template <class Key, class Type>
protocol::Bytes group_key(Type type, const std::string& group) {
  Key key;
  key.group_id = group;
  return prefixed(static_cast<int16_t>(type), key, 0);
}
template <class Key, class Type>
protocol::Bytes member_key(Type type, const std::string& group, const std::string& member) {
  Key key;
  key.group_id = group;
  key.member_id = member;
  return prefixed(static_cast<int16_t>(type), key, 0);
}

// nullopt for a key that is malformed.
template <class Key>
std::optional<std::string> member_of(const CoordinatorRecord& record) {
  protocol::Reader in(record.key);
  (void)in.fixed<int16_t>();
  const auto key = read_message<Key>(in, 0);
  return key ? std::optional(key->member_id) : std::nullopt;
}

template <class Topics>
void list(const Assignment& assignment, Topics& into) {
  for (const auto& [topic, partitions] : assignment) {
    auto& out = into.emplace_back();
    out.topic_id = topic;
    out.partitions.assign(partitions.begin(), partitions.end());
  }
}

// A topic without partitions is left out.
template <class Topics>
Assignment assignment_of(const Topics& topics) {
  Assignment assignment;
  for (const auto& topic : topics) {
    if (!topic.partitions.empty()) {
      assignment[topic.topic_id].insert(topic.partitions.begin(), topic.partitions.end());
    }
  }
  return assignment;
}

}  // namespace klamm::broker
