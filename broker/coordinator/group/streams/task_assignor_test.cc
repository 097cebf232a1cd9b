#include "broker/coordinator/group/streams/task_assignor.h"

#include <algorithm>
#include <catch2/catch.hpp>

using namespace klamm;
using namespace klamm::broker;

namespace {

using Result = std::map<std::string, TaskSets>;

struct Cluster {
  std::map<std::string, ConfiguredSubtopology> subtopologies;
  std::map<std::string, std::string> process_of;  // by member
  int32_t standbys = 0;
  Result last;

  Result assign() {
    TaskAssignmentInput input{
        .members = {}, .subtopologies = subtopologies, .standby_replicas = standbys};
    for (const auto& [id, process] : process_of) {
      input.members.push_back({id, process, &last[id]});
    }
    Result next = assign_sticky(input);
    std::swap(last, next);
    return next;  // the one before
  }
  static size_t count(const Tasks& tasks) {
    size_t sum = 0;
    for (const auto& [subtopology, partitions] : tasks) {
      sum += partitions.size();
    }
    return sum;
  }
  std::vector<size_t> loads() const {
    std::vector<size_t> loads;
    for (const auto& [id, tasks] : last) {
      loads.push_back(count(tasks.active) + count(tasks.standby));
    }
    std::ranges::sort(loads);
    return loads;
  }
  static size_t moved(const Result& before, const Result& after) {
    size_t moved = 0;
    for (const auto& [id, tasks] : before) {
      const auto now = after.find(id);
      for (const auto& [subtopology, partitions] : tasks.active) {
        for (const int32_t partition : partitions) {
          moved += now == after.end() || !contains(now->second.active, subtopology, partition);
        }
      }
    }
    return moved;
  }
};

}  // namespace

TEST_CASE("active tasks: as many for each, and as few as possible move") {
  Cluster c;
  c.subtopologies["0"] = {.tasks = 6};
  c.subtopologies["1"] = {.tasks = 6, .is_stateful = true};
  c.process_of = {{"a", "p"}, {"b", "q"}};
  c.assign();
  CHECK(c.loads() == std::vector<size_t>{6, 6});
  c.process_of["c"] = "r";
  const auto before = c.assign();
  CHECK(c.loads() == std::vector<size_t>{4, 4, 4});
  CHECK(Cluster::moved(before, c.last) == 4);
  c.process_of.erase("a");
  const auto with_three = c.assign();
  CHECK(c.loads() == std::vector<size_t>{6, 6});
  CHECK(Cluster::moved(with_three, c.last) == 4);
  CHECK(Cluster::moved(c.assign(), c.last) == 0);
}

TEST_CASE("standbys are in other processes than the task, and take over") {
  Cluster c;
  c.subtopologies["0"] = {.tasks = 4, .is_stateful = true};
  c.standbys = 1;
  c.process_of = {{"a1", "a"}, {"a2", "a"}, {"b1", "b"}};
  c.assign();
  for (int32_t partition = 0; partition < 4; ++partition) {
    std::set<std::string> processes;
    for (const auto& [id, tasks] : c.last) {
      if (contains(tasks.active, "0", partition) || contains(tasks.standby, "0", partition)) {
        processes.insert(c.process_of[id]);
      }
    }
    CHECK(processes.size() == 2);
  }
  const Tasks kept = c.last["b1"].standby;
  c.process_of.erase("a1");
  c.process_of.erase("a2");
  c.assign();
  CHECK(Cluster::count(c.last["b1"].active) == 4);
  CHECK(Cluster::count(c.last["b1"].standby) == 0);  // there is nobody to keep one
  CHECK(within(kept, c.last["b1"].active));
}

TEST_CASE("standbys are only of tasks that have state, and no more than processes") {
  Cluster c;
  c.subtopologies["0"] = {.tasks = 3};
  c.subtopologies["1"] = {.tasks = 3, .is_stateful = true};
  c.standbys = 5;
  c.process_of = {{"a", "a"}, {"b", "b"}, {"c", "c"}};
  c.assign();
  for (const auto& [id, tasks] : c.last) {
    CHECK_FALSE(tasks.standby.contains("0"));
    CHECK(Cluster::count(tasks.active) == 2);
    CHECK(Cluster::count(tasks.standby) == 2);
  }
}

TEST_CASE("without members or tasks there is nothing to assign") {
  Cluster c;
  CHECK(c.assign().empty());
  c.process_of["a"] = "p";
  c.assign();
  CHECK(c.last["a"] == TaskSets());
}
