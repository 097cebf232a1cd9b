#pragma once
// The tasks of a streams group (KIP-1071): one for each partition of a subtopology's sources. A
// member runs some as active ones, keeps copies of the state of others as standbys, and warms up
// those that it shall run later.
#include <cstdint>
#include <map>
#include <string>

#include "broker/coordinator/group/assignment/sorted.h"

namespace klamm::broker {

// Partitions by subtopology, none of them empty.
using Tasks = std::map<std::string, SortedSet<int32_t>>;
// With the member epoch at which each was assigned.
using TaskEpochs = std::map<std::string, SortedMap<int32_t, int32_t>>;

struct TaskSets {
  Tasks active;
  Tasks standby;
  Tasks warmup;
  bool operator==(const TaskSets&) const = default;
};

struct OwnedTasks {
  TaskEpochs active;
  Tasks standby;
  Tasks warmup;
  bool operator==(const OwnedTasks&) const = default;
  bool empty() const { return active.empty() && standby.empty() && warmup.empty(); }
};

inline bool contains(const Tasks& tasks, const std::string& subtopology, int32_t partition) {
  const auto found = tasks.find(subtopology);
  return found != tasks.end() && found->second.contains(partition);
}
inline bool contains(const TaskEpochs& tasks, const std::string& subtopology, int32_t partition) {
  const auto found = tasks.find(subtopology);
  return found != tasks.end() && found->second.contains(partition);
}

// Whether a task of `some` is one of `others` too.
template <class Others>
bool overlap(const Tasks& some, const Others& others) {
  for (const auto& [subtopology, partitions] : some) {
    for (const int32_t partition : partitions) {
      if (contains(others, subtopology, partition)) {
        return true;
      }
    }
  }
  return false;
}

// Whether each task of `some` is one of `others`.
template <class Others>
bool within(const Tasks& some, const Others& others) {
  for (const auto& [subtopology, partitions] : some) {
    for (const int32_t partition : partitions) {
      if (!contains(others, subtopology, partition)) {
        return false;
      }
    }
  }
  return true;
}

// Takes lists of tasks apart and puts them together, as the messages of the protocol have them.
template <class List>
Tasks tasks_of(const List& list) {
  Tasks tasks;
  for (const auto& each : list) {
    if (!each.partitions.empty()) {
      tasks[each.subtopology_id].insert(each.partitions.begin(), each.partitions.end());
    }
  }
  return tasks;
}
template <class List>
void list_tasks(const Tasks& tasks, List& into) {
  for (const auto& [subtopology, partitions] : tasks) {
    auto& out = into.emplace_back();
    out.subtopology_id = subtopology;
    out.partitions.assign(partitions.begin(), partitions.end());
  }
}
template <class List>
void list_tasks(const TaskEpochs& tasks, List& into) {
  for (const auto& [subtopology, partitions] : tasks) {
    auto& out = into.emplace_back();
    out.subtopology_id = subtopology;
    for (const auto& [partition, epoch] : partitions) {
      out.partitions.push_back(partition);
    }
  }
}

}  // namespace klamm::broker
