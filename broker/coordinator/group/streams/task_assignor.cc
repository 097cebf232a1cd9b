#include "broker/coordinator/group/streams/task_assignor.h"

#include <algorithm>
#include <compare>
#include <set>
#include <utility>

namespace klamm::broker {
namespace {

struct Task {
  std::string subtopology;
  int32_t partition = 0;
  auto operator<=>(const Task&) const = default;
};

// How many of the rest each of those with room may take.
class Quota {
 public:
  Quota(size_t tasks, size_t members) : tasks_(tasks), members_(members) { divide(); }
  size_t per_member() const { return per_member_; }
  // A member has as many now.
  void note(size_t count) {
    if (count == per_member_ && members_ > 0) {
      --members_;
      tasks_ -= std::min(tasks_, count);
      divide();
    }
  }

 private:
  void divide() { per_member_ = members_ == 0 ? 0 : (tasks_ + members_ - 1) / members_; }
  size_t tasks_;
  size_t members_;
  size_t per_member_ = 0;
};

class Assignment {
 public:
  explicit Assignment(const TaskAssignmentInput& input)
      : input_(input),
        active_quota_(count(false), input.members.size()),
        quota_(count(false) + count(true) * static_cast<size_t>(input.standby_replicas),
               input.members.size()) {
    for (const auto& member : input.members) {
      processes_[member.process_id].by_load.insert({0, member.id});
      Member& mine = members_[member.id];
      mine.process_id = member.process_id;
      mine.process = &processes_.at(member.process_id);
      for (const auto& [subtopology, partitions] : member.before->active) {
        for (const int32_t partition : partitions) {
          ran_[{subtopology, partition}] = member.id;
        }
      }
      for (const auto& [subtopology, partitions] : member.before->standby) {
        for (const int32_t partition : partitions) {
          stood_by_[{subtopology, partition}].push_back(member.id);
        }
      }
    }
    for (auto& [id, process] : processes_) {
      by_load_.insert({process.load(), id});
    }
  }

  std::map<std::string, TaskSets> run() {
    assign_active();
    if (input_.standby_replicas > 0) {
      assign_standby();
    }
    std::map<std::string, TaskSets> result;
    for (auto& [id, member] : members_) {
      result[id] = std::move(member.tasks);
    }
    return result;
  }

 private:
  struct Process {
    std::set<std::pair<size_t, std::string>> by_load;  // its members by how many tasks they have
    std::set<Task> tasks;
    double load() const {
      return static_cast<double>(tasks.size()) / static_cast<double>(by_load.size());
    }
  };
  struct Member {
    std::string process_id;
    Process* process = nullptr;
    size_t count = 0;
    TaskSets tasks;
  };

  size_t count(bool stateful_only) const {
    size_t sum = 0;
    for (const auto& [id, subtopology] : input_.subtopologies) {
      sum += stateful_only && !subtopology.is_stateful ? 0 : static_cast<size_t>(subtopology.tasks);
    }
    return sum;
  }

  // By partition first: tasks of one partition belong together.
  std::vector<Task> all(bool stateful_only) const {
    std::vector<Task> tasks;
    for (const auto& [id, subtopology] : input_.subtopologies) {
      for (int32_t i = 0; i < subtopology.tasks && (subtopology.is_stateful || !stateful_only);
           ++i) {
        tasks.push_back({id, i});
      }
    }
    std::ranges::sort(tasks, {},
                      [](const Task& task) { return std::pair(task.partition, task.subtopology); });
    return tasks;
  }

  void give(const std::string& member_id, const Task& task, bool is_active) {
    Member& member = members_.at(member_id);
    Process& process = *member.process;
    by_load_.erase({process.load(), member.process_id});
    process.by_load.erase({member.count, member_id});
    (is_active ? member.tasks.active : member.tasks.standby)[task.subtopology].insert(
        task.partition);
    process.by_load.insert({++member.count, member_id});
    process.tasks.insert(task);
    by_load_.insert({process.load(), member.process_id});
    if (is_active) {
      active_quota_.note(member.count);
    }
    quota_.note(member.count);
  }

  // Of those who had it as a standby, the one that has least to do and does not have it already.
  const std::string* least_loaded_standby(const Task& task) const {
    const auto known = stood_by_.find(task);
    const std::string* best = nullptr;
    if (known == stood_by_.end()) {
      return best;
    }
    const auto load_of = [&](const std::string& id) {
      return std::pair(members_.at(id).process->load(), members_.at(id).count);
    };
    for (const auto& id : known->second) {
      if (!members_.at(id).process->tasks.contains(task) &&
          (best == nullptr || load_of(id) < load_of(*best))) {
        best = &id;
      }
    }
    return best;
  }

  void assign_active() {
    std::vector<Task> left = all(false);
    const auto keep = [&](auto&& holder_of) {
      std::erase_if(left, [&](const Task& task) {
        const std::string* const holder = holder_of(task);
        if (holder == nullptr || members_.at(*holder).count >= active_quota_.per_member()) {
          return false;
        }
        give(*holder, task, true);
        return true;
      });
    };
    keep([&](const Task& task) {
      const auto known = ran_.find(task);
      return known == ran_.end() ? nullptr : &known->second;
    });
    keep([&](const Task& task) { return least_loaded_standby(task); });
    // A range of each subtopology's partitions for everybody.
    std::ranges::sort(left);
    for (const Task& task : left) {
      if (by_load_.empty()) {
        return;
      }
      const Process& process = processes_.at(by_load_.begin()->second);
      give(std::string(process.by_load.begin()->second), task, true);
    }
  }

  // True when the task went to somebody who knows its state.
  bool keep_standby(const Task& task) {
    const auto ran = ran_.find(task);
    const std::string* holders[] = {ran == ran_.end() ? nullptr : &ran->second,
                                    least_loaded_standby(task)};
    for (const std::string* const holder : holders) {
      if (holder != nullptr && !members_.at(*holder).process->tasks.contains(task) &&
          members_.at(*holder).count < quota_.per_member()) {
        give(*holder, task, false);
        return true;
      }
    }
    return false;
  }

  void assign_standby() {
    std::vector<std::pair<Task, int32_t>> left;  // with how many copies
    const std::vector<Task> stateful = all(true);
    for (const Task& task : stateful) {
      int32_t copies = input_.standby_replicas;
      while (copies > 0 && keep_standby(task)) {
        --copies;
      }
      if (copies > 0) {
        left.emplace_back(task, copies);
      }
    }
    std::ranges::sort(left, std::greater());
    for (const auto& [task, copies] : left) {
      for (int32_t i = 0; i < copies; ++i) {
        const auto free = std::ranges::find_if(by_load_, [&](const auto& each) {
          return !processes_.at(each.second).tasks.contains(task);
        });
        if (free == by_load_.end()) {
          break;
        }
        give(std::string(processes_.at(free->second).by_load.begin()->second), task, false);
      }
    }
  }

  const TaskAssignmentInput& input_;
  Quota active_quota_;
  Quota quota_;
  std::map<std::string, Process> processes_;
  std::map<std::string, Member> members_;
  std::set<std::pair<double, std::string>> by_load_;  // processes
  std::map<Task, std::string> ran_;
  std::map<Task, std::vector<std::string>> stood_by_;
};

}  // namespace

std::map<std::string, TaskSets> assign_sticky(const TaskAssignmentInput& input) {
  return Assignment(input).run();
}

}  // namespace klamm::broker
