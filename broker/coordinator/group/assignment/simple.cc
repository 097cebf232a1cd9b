#include <algorithm>

#include "broker/coordinator/group/assignment/assignor.h"

namespace klamm::broker {
namespace {

using Place = std::pair<Uuid, int32_t>;

// Each partition gets as many readers as the members make for all of them, the same for each as far
// as that goes; whoever has a partition keeps it if it is still among them.
class Simple {
 public:
  explicit Simple(const AssignmentTask& task) : task_(task), held_(task.subscribers.size()) {
    for (const auto& [topic, count] : task.partitions) {
      for (int32_t partition = 0; partition < count; ++partition) {
        readers_[{topic, partition}];
      }
    }
    for (size_t i = 0; i < task.subscribers.size(); ++i) {
      targets_[task.subscribers[i].member_id];
    }
  }

  Targets assign() {
    const size_t places = readers_.size();
    if (places == 0 || held_.empty()) {
      return targets_;
    }
    sharing_ = (held_.size() + places - 1) / places;
    keep();
    // Who has least chooses first, of what fewest read.
    for (auto& [place, readers] : readers_) {
      while (readers.size() < sharing_ && add_reader(place, readers)) {
      }
    }
    serve_the_idle();
    return targets_;
  }

 private:
  bool may_read(size_t member, const Place& place) const {
    return task_.subscribers[member].topics.contains(place.first);
  }
  void give(const Place& place, std::set<size_t>& readers, size_t member) {
    readers.insert(member);
    ++held_[member];
    targets_[task_.subscribers[member].member_id][place.first].insert(place.second);
  }
  // What one may have so that it is even: all readings, dealt out.
  size_t fair_share() const {
    return (sharing_ * readers_.size() + held_.size() - 1) / held_.size();
  }
  void keep() {
    for (size_t member = 0; member < held_.size(); ++member) {
      const Assignment* const before = task_.subscribers[member].before;
      if (before == nullptr) {
        continue;
      }
      for (const auto& [topic, partitions] : *before) {
        for (const int32_t partition : partitions) {
          const Place place{topic, partition};
          const auto found = readers_.find(place);
          if (found != readers_.end() && may_read(member, place) &&
              found->second.size() < sharing_ && held_[member] < fair_share()) {
            give(place, found->second, member);
          }
        }
      }
    }
  }
  bool add_reader(const Place& place, std::set<size_t>& readers) {
    size_t best = SIZE_MAX;
    for (size_t member = 0; member < held_.size(); ++member) {
      if (may_read(member, place) && !readers.contains(member) &&
          (best == SIZE_MAX || held_[member] < held_[best])) {
        best = member;
      }
    }
    // One reader there must be; more of them only within their shares.
    if (best == SIZE_MAX || (!readers.empty() && held_[best] >= fair_share())) {
      return false;
    }
    give(place, readers, best);
    return true;
  }
  void serve_the_idle() {
    for (size_t member = 0; member < held_.size(); ++member) {
      if (held_[member] > 0) {
        continue;
      }
      auto best = readers_.end();
      for (auto it = readers_.begin(); it != readers_.end(); ++it) {
        if (may_read(member, it->first) &&
            (best == readers_.end() || it->second.size() < best->second.size())) {
          best = it;
        }
      }
      if (best != readers_.end()) {
        give(best->first, best->second, member);
      }
    }
  }

  const AssignmentTask& task_;
  std::vector<size_t> held_;
  std::map<Place, std::set<size_t>> readers_;
  Targets targets_;
  size_t sharing_ = 1;
};

}  // namespace

Targets assign_simple(const AssignmentTask& task) { return Simple(task).assign(); }

}  // namespace klamm::broker
