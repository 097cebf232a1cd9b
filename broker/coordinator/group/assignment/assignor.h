#pragma once
// Who of a group's members reads which partitions: the assignors of the coordinator (KIP-848,
// KIP-932). Pure functions of who there is, what everybody subscribes to and who had what before;
// the same task gives the same answer.
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/coordinator/group/assignment/sorted.h"
#include "protocol/base/uuid.h"

namespace klamm::broker {

using protocol::Uuid;

using Assignment = std::map<Uuid, SortedSet<int32_t>>;  // partitions by topic; no empty sets
using Targets = std::map<std::string, Assignment>;      // by member

struct Subscriber {
  std::string member_id;
  std::optional<std::string> instance_id;
  std::set<Uuid> topics;               // that exist
  const Assignment* before = nullptr;  // the target until now; null: none
};

struct AssignmentTask {
  std::vector<Subscriber> subscribers;
  std::map<Uuid, int32_t> partitions;  // how many each topic of the subscribers has
};

// Every partition has one reader; members get neighbouring partitions, the same of each topic where
// the counts allow. Static members come first, in the order of their instance ids.
Targets assign_range(const AssignmentTask& task);
// Every partition has one reader, loads differ by one at most where the subscriptions allow it, and
// members keep what they had as far as that goes.
Targets assign_uniform(const AssignmentTask& task);
// For share groups: a partition may have several readers and a reader several partitions; each
// member gets at least one partition, each partition at least one member.
Targets assign_simple(const AssignmentTask& task);

using Assignor = Targets (*)(const AssignmentTask&);
// The consumer group assignor of that name; null when there is none.
Assignor find_consumer_assignor(std::string_view name);

// Whether all have the same subscription.
bool is_homogeneous(const AssignmentTask& task);

}  // namespace klamm::broker
