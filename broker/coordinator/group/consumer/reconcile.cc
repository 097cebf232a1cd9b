#include "broker/coordinator/group/consumer/reconcile.h"

namespace klamm::broker {
namespace {

class Reconciliation {
 public:
  Reconciliation(const ReconcileTask& task, const ConsumerMember& member)
      : task_(task), member_(member) {
    for (const auto& name : task.group.topics_of(member)) {
      if (const auto topic = task.image.topic(name)) {
        subscribed_.insert(topic->id);
      }
    }
  }

  bool still_owns(const OwnedPartitions& partitions) const {
    if (!task_.reported) {
      return true;
    }
    for (const auto& [topic, reported] : *task_.reported) {
      const auto found = partitions.find(topic);
      if (found == partitions.end()) {
        continue;
      }
      for (const int32_t partition : reported) {
        if (found->second.contains(partition)) {
          return true;
        }
      }
    }
    return false;
  }

  // Takes topics away that the member no longer subscribes to, whatever its target says.
  ConsumerMember without_unsubscribed() const {
    ConsumerMember next = member_;
    for (const auto& [topic, partitions] : member_.assigned) {
      if (!subscribed_.contains(topic)) {
        next.pending_revocation[topic].insert(partitions.begin(), partitions.end());
        next.assigned.erase(topic);
      }
    }
    if (next.assigned == member_.assigned) {
      return member_;
    }
    next.move_to_epoch(member_.epoch);
    if (still_owns(next.pending_revocation)) {
      next.state = MemberState::kUnrevokedPartitions;
    } else {
      next.pending_revocation = member_.pending_revocation;
    }
    return next;
  }

  ConsumerMember towards_target(int32_t current_epoch) const {
    const int32_t target_epoch = task_.group.assignment_epoch();
    OwnedPartitions keep;
    OwnedPartitions revoke;
    for (const auto& [topic, partitions] : member_.assigned) {
      for (const auto& [partition, epoch] : partitions) {
        (wants(topic, partition) ? keep : revoke)[topic][partition] = epoch;
      }
    }
    ConsumerMember next = member_;
    if (!revoke.empty() && still_owns(revoke)) {
      next.state = MemberState::kUnrevokedPartitions;
      next.move_to_epoch(current_epoch);
      next.assigned = std::move(keep);
      next.pending_revocation = std::move(revoke);
      return next;
    }
    const bool waits = take_free(keep, target_epoch);
    next.state = waits ? MemberState::kUnreleasedPartitions : MemberState::kStable;
    next.move_to_epoch(target_epoch);
    next.assigned = std::move(keep);
    next.pending_revocation.clear();
    return next;
  }

 private:
  bool wants(const Uuid& topic, int32_t partition) const {
    const auto& target = task_.group.target(member_.id);
    const auto found = target.find(topic);
    return subscribed_.contains(topic) && found != target.end() &&
           found->second.contains(partition);
  }
  // Adds what the target has and nobody owns. True when others have not given back all of it yet.
  bool take_free(OwnedPartitions& owned, int32_t epoch) const {
    bool waits = false;
    for (const auto& [topic, partitions] : task_.group.target(member_.id)) {
      if (!subscribed_.contains(topic)) {
        continue;
      }
      for (const int32_t partition : partitions) {
        if (const auto have = owned.find(topic);
            have != owned.end() && have->second.contains(partition)) {
          continue;
        }
        if (task_.group.is_owned(topic, partition, member_)) {
          waits = true;
        } else {
          owned[topic][partition] = epoch;
        }
      }
    }
    return waits;
  }

  const ReconcileTask& task_;
  const ConsumerMember& member_;
  std::set<Uuid> subscribed_;
};

}  // namespace

Result<ConsumerMember> reconcile(const ReconcileTask& task, const ConsumerMember& member) {
  if (!task.subscription_changed && task.group.is_stable_at_target(member)) {
    return member;
  }
  const Reconciliation next(task, member);
  switch (member.state) {
    case MemberState::kStable:
      return member.epoch == task.group.assignment_epoch() ? next.without_unsubscribed()
                                                           : next.towards_target(member.epoch);
    case MemberState::kUnrevokedPartitions:
      if (!next.still_owns(member.pending_revocation)) {
        return next.towards_target(member.epoch);
      }
      return task.subscription_changed ? next.without_unsubscribed() : member;
    case MemberState::kUnreleasedPartitions: return next.towards_target(member.epoch);
    case MemberState::kUnknown:
      if (!task.reported || !task.reported->empty()) {
        return fail(
            ErrorCode::kFencedMemberEpoch,
            "The member's state is unknown here; it must give up its partitions and rejoin.");
      }
      return next.towards_target(task.group.assignment_epoch());
  }
  return member;
}

}  // namespace klamm::broker
