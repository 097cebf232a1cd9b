#include "broker/coordinator/group/streams/task_reconcile.h"

#include <algorithm>

namespace klamm::broker {
namespace {

class Reconciliation {
 public:
  Reconciliation(const TaskReconcileInput& input, const StreamsMember& member)
      : input_(input), member_(member) {}

  bool still_owns(const OwnedTasks& tasks) const {
    const auto& reported = input_.reported;
    return !reported || overlap(reported->active, tasks.active) ||
           overlap(reported->standby, tasks.standby) || overlap(reported->warmup, tasks.warmup);
  }

  StreamsMember step(int32_t current_epoch) const {
    OwnedTasks keep;
    OwnedTasks revoke;
    split(member_.assigned.active, input_.target.active, keep.active, revoke.active);
    split(member_.assigned.standby, input_.target.standby, keep.standby, revoke.standby);
    split(member_.assigned.warmup, input_.target.warmup, keep.warmup, revoke.warmup);
    Free free = free_tasks(keep);
    recycle(keep, revoke, free);
    const OwnedTasks promoted = take_promoted(revoke);
    StreamsMember next = member_;
    if (!revoke.empty() && still_owns(revoke)) {
      next.state = StreamsMemberState::kUnrevokedTasks;
      next.move_to_epoch(current_epoch);
      next.assigned = std::move(keep);
      merge(promoted.standby, next.assigned.standby);
      merge(promoted.warmup, next.assigned.warmup);
      next.pending_revocation = std::move(revoke);
      return next;
    }
    for (const auto& [subtopology, partitions] : free.tasks.active) {
      for (const int32_t partition : partitions) {
        keep.active[subtopology][partition] = input_.target_epoch;
      }
    }
    merge(free.tasks.standby, keep.standby);
    merge(free.tasks.warmup, keep.warmup);
    // Until it may run the task, the member keeps its state up to date.
    merge(without(promoted.standby, keep.active), keep.standby);
    merge(without(promoted.warmup, keep.active), keep.warmup);
    next.state = free.is_all ? StreamsMemberState::kStable : StreamsMemberState::kUnreleasedTasks;
    next.move_to_epoch(input_.target_epoch);
    next.assigned = std::move(keep);
    next.pending_revocation = {};
    return next;
  }

 private:
  static void split(const TaskEpochs& has, const Tasks& target, TaskEpochs& keep,
                    TaskEpochs& revoke) {
    for (const auto& [subtopology, partitions] : has) {
      for (const auto& [partition, epoch] : partitions) {
        (contains(target, subtopology, partition) ? keep : revoke)[subtopology][partition] = epoch;
      }
    }
  }
  static void split(const Tasks& has, const Tasks& target, Tasks& keep, Tasks& revoke) {
    for (const auto& [subtopology, partitions] : has) {
      for (const int32_t partition : partitions) {
        (contains(target, subtopology, partition) ? keep : revoke)[subtopology].insert(partition);
      }
    }
  }

  // Whether another member has the task, so that this one cannot: as an active one anywhere if it
  // is to be active here, in any way within the process.
  bool is_taken(const std::string& subtopology, int32_t partition, bool as_active) const {
    for (const auto& [id, other] : input_.group.members()) {
      if (id == member_.id) {
        continue;
      }
      const bool same_process = other->process_id == member_.process_id;
      for (const OwnedTasks* const owned : {&other->assigned, &other->pending_revocation}) {
        if (((as_active || same_process) && contains(owned->active, subtopology, partition)) ||
            (same_process && (contains(owned->standby, subtopology, partition) ||
                              contains(owned->warmup, subtopology, partition)))) {
          return true;
        }
      }
    }
    return false;
  }

  // What the target has besides, as far as it is free.
  struct Free {
    TaskSets tasks;
    bool is_all = true;
  };
  Free free_tasks(const OwnedTasks& keep) const {
    Free free;
    const auto add = [&](const Tasks& target, const auto& owned, bool as_active, Tasks& into) {
      for (const auto& [subtopology, partitions] : target) {
        for (const int32_t partition : partitions) {
          if (contains(owned, subtopology, partition)) {
            continue;
          }
          if (is_taken(subtopology, partition, as_active)) {
            free.is_all = false;
          } else {
            into[subtopology].insert(partition);
          }
        }
      }
    };
    add(input_.target.active, keep.active, true, free.tasks.active);
    add(input_.target.standby, keep.standby, false, free.tasks.standby);
    add(input_.target.warmup, keep.warmup, false, free.tasks.warmup);
    return free;
  }

  // A task whose state the member has stays with it in another role: what it runs becomes a standby
  // at once, and a standby or warm-up task the other of the two without being given back.
  void recycle(OwnedTasks& keep, OwnedTasks& revoke, Free& free) const {
    move_common(member_.assigned.active, free.tasks.standby, keep.standby);
    erase(move_common(revoke.standby, free.tasks.warmup, keep.warmup), revoke.standby);
    erase(move_common(revoke.warmup, free.tasks.standby, keep.standby), revoke.warmup);
  }
  // Moves what is in both from the second to the third; tells what.
  template <class Some>
  static Tasks move_common(const Some& some, Tasks& from, Tasks& to) {
    Tasks moved;
    for (const auto& [subtopology, partitions] : from) {
      for (const int32_t partition : partitions) {
        if (contains(some, subtopology, partition)) {
          moved[subtopology].insert(partition);
        }
      }
    }
    erase(moved, from);
    merge(moved, to);
    return moved;
  }

  // The standby and warm-up tasks that the member shall run: they are not given back.
  OwnedTasks take_promoted(OwnedTasks& revoke) const {
    OwnedTasks promoted;
    move_common(input_.target.active, revoke.standby, promoted.standby);
    move_common(input_.target.active, revoke.warmup, promoted.warmup);
    return promoted;
  }

  static void merge(const Tasks& more, Tasks& into) {
    for (const auto& [subtopology, partitions] : more) {
      into[subtopology].insert(partitions.begin(), partitions.end());
    }
  }
  static void erase(const Tasks& away, Tasks& from) {
    for (const auto& [subtopology, partitions] : away) {
      Tasks::iterator left = from.find(subtopology);
      for (const int32_t partition : partitions) {
        left->second.erase(partition);
      }
      if (left->second.empty()) {
        from.erase(left);
      }
    }
  }
  static Tasks without(const Tasks& tasks, const TaskEpochs& running) {
    Tasks left;
    for (const auto& [subtopology, partitions] : tasks) {
      for (const int32_t partition : partitions) {
        if (!contains(running, subtopology, partition)) {
          left[subtopology].insert(partition);
        }
      }
    }
    return left;
  }

  const TaskReconcileInput& input_;
  const StreamsMember& member_;
};

}  // namespace

Result<StreamsMember> reconcile(const TaskReconcileInput& input, const StreamsMember& member) {
  if (input.group.is_stable_at(member, input.target_epoch)) {
    return member;
  }
  const Reconciliation next(input, member);
  switch (member.state) {
    case StreamsMemberState::kStable:
    case StreamsMemberState::kUnreleasedTasks: return next.step(member.epoch);
    case StreamsMemberState::kUnrevokedTasks:
      return next.still_owns(member.pending_revocation) ? member : next.step(member.epoch + 1);
    case StreamsMemberState::kUnknown:
      if (!input.reported || *input.reported != TaskSets()) {
        return fail(ErrorCode::kFencedMemberEpoch,
                    "The member's state is unknown here; it must give up its tasks and rejoin.");
      }
      return next.step(input.target_epoch);
  }
  return member;
}

}  // namespace klamm::broker
