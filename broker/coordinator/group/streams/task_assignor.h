#pragma once
// Which member runs which task (KIP-1071, the `sticky` assignor): a task stays with whoever has its
// state, members get as many as each other, and a process, whose members share a disk, has a task
// once.
#include <map>
#include <string>
#include <vector>

#include "broker/coordinator/group/streams/topology.h"

namespace klamm::broker {

struct TaskAssignmentInput {
  struct Member {
    std::string id;
    std::string process_id;
    const TaskSets* before = nullptr;  // its last target
  };
  std::vector<Member> members;
  const std::map<std::string, ConfiguredSubtopology>& subtopologies;
  int32_t standby_replicas = 0;  // of each task that has state
};

// For every member its tasks. All active ones are somebody's if there is a member; a standby that
// no process has room for is left out.
std::map<std::string, TaskSets> assign_sticky(const TaskAssignmentInput& input);

}  // namespace klamm::broker
