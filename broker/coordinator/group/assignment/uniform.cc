#include <algorithm>
#include <cmath>

#include "broker/coordinator/group/assignment/assignor.h"

namespace klamm::broker {
namespace {

using Place = std::pair<Uuid, int32_t>;

// An assignment in the making: who owns what, and how much everybody has. Members are named by
// their place in the task.
class Uniform {
 public:
  explicit Uniform(const AssignmentTask& task) : task_(task), held_(task.subscribers.size()) {
    for (const auto& [topic, count] : task.partitions) {
      owners_[topic].assign(static_cast<size_t>(count), kNobody);
      readers_[topic];
      total_ += static_cast<size_t>(count);
    }
    for (size_t i = 0; i < task.subscribers.size(); ++i) {
      for (const Uuid& topic : task.subscribers[i].topics) {
        readers_[topic].push_back(i);
      }
    }
  }

  // What members had and may keep, up to what `quota` allows each.
  template <class Quota>
  void keep(const Quota& quota) {
    for (size_t i = 0; i < task_.subscribers.size(); ++i) {
      for_each_kept(i, [&](const Uuid& topic, int32_t partition) {
        if (held_[i] < quota(i) && owner(topic, partition) == kNobody) {
          give({topic, partition}, i);
        }
      });
    }
  }
  // How many of the partitions that the member had it may keep.
  size_t count_kept(size_t member) const {
    size_t count = 0;
    for_each_kept(member, [&](const Uuid&, int32_t) { ++count; });
    return count;
  }
  Targets targets() const {
    Targets targets;
    for (const auto& subscriber : task_.subscribers) {
      targets[subscriber.member_id];
    }
    for (const auto& [topic, owners] : owners_) {
      for (size_t partition = 0; partition < owners.size(); ++partition) {
        if (owners[partition] != kNobody) {
          targets[task_.subscribers[owners[partition]].member_id][topic].insert(
              static_cast<int32_t>(partition));
        }
      }
    }
    return targets;
  }

  void assign_same_subscriptions();
  void assign_various_subscriptions();

 private:
  static constexpr size_t kNobody = SIZE_MAX;

  size_t& owner(const Uuid& topic, int32_t partition) {
    return owners_.at(topic)[static_cast<size_t>(partition)];
  }
  template <class Visit>
  void for_each_kept(size_t member, const Visit& visit) const {
    const Subscriber& subscriber = task_.subscribers[member];
    if (subscriber.before == nullptr) {
      return;
    }
    for (const auto& [topic, partitions] : *subscriber.before) {
      if (!subscriber.topics.contains(topic)) {
        continue;
      }
      for (const int32_t partition : partitions) {
        if (partition < task_.partitions.at(topic)) {
          visit(topic, partition);
        }
      }
    }
  }
  void give(const Place& place, size_t member) {
    size_t& now = owner(place.first, place.second);
    if (now != kNobody) {
      --held_[now];
    }
    now = member;
    ++held_[member];
  }
  std::vector<Uuid> topics_by_need() const;
  size_t least_loaded(const std::vector<size_t>& readers) const {
    return *std::ranges::min_element(readers, {}, [&](size_t reader) { return held_[reader]; });
  }
  void spread(const Uuid& topic);
  bool balance(const Uuid& topic);

  const AssignmentTask& task_;
  std::map<Uuid, std::vector<size_t>> owners_;
  std::map<Uuid, std::vector<size_t>> readers_;
  std::vector<size_t> held_;
  size_t total_ = 0;
};

// Some have one more than others when it does not divide evenly: those who have it already first.
void Uniform::assign_same_subscriptions() {
  const size_t least = total_ / held_.size();
  size_t extra = total_ % held_.size();
  std::vector<size_t> quota(held_.size(), least);
  for (size_t i = 0; i < quota.size() && extra > 0; ++i) {
    if (count_kept(i) > least) {
      ++quota[i];
      --extra;
    }
  }
  for (size_t i = 0; i < quota.size() && extra > 0; ++i) {
    if (quota[i] == least) {
      ++quota[i];
      --extra;
    }
  }
  keep([&](size_t member) { return quota[member]; });
  size_t next = 0;
  for (auto& [topic, owners] : owners_) {
    for (size_t partition = 0; partition < owners.size(); ++partition) {
      if (owners[partition] != kNobody) {
        continue;
      }
      while (held_[next] == quota[next]) {
        ++next;
      }
      give({topic, static_cast<int32_t>(partition)}, next);
    }
  }
}

// Topics whose readers have the most to carry come first; then those with fewer readers.
std::vector<Uuid> Uniform::topics_by_need() const {
  std::vector<Uuid> topics;
  for (const auto& [topic, readers] : readers_) {
    if (!readers.empty()) {
      topics.push_back(topic);
    }
  }
  std::ranges::stable_sort(topics, {}, [&](const Uuid& topic) {
    const auto readers = readers_.at(topic).size();
    return std::pair(
        -static_cast<double>(task_.partitions.at(topic)) / static_cast<double>(readers), readers);
  });
  return topics;
}

void Uniform::spread(const Uuid& topic) {
  const auto& readers = readers_.at(topic);
  for (int32_t partition = 0; partition < task_.partitions.at(topic); ++partition) {
    if (owner(topic, partition) == kNobody) {
      give({topic, partition}, least_loaded(readers));
    }
  }
}

// Moves the topic's partitions from those who carry most to those who carry least. False when
// nothing is left to be moved.
bool Uniform::balance(const Uuid& topic) {
  const auto& readers = readers_.at(topic);
  std::map<size_t, std::vector<int32_t>> held_of_topic;
  for (int32_t partition = 0; partition < task_.partitions.at(topic); ++partition) {
    held_of_topic[owner(topic, partition)].push_back(partition);
  }
  bool moved = false;
  while (!held_of_topic.empty()) {
    const auto most =
        std::ranges::max_element(held_of_topic, {}, [&](auto& each) { return held_[each.first]; });
    const size_t to = least_loaded(readers);
    if (held_[most->first] <= held_[to] + 1) {
      break;
    }
    const int32_t partition = most->second.back();
    most->second.pop_back();
    if (most->second.empty()) {
      held_of_topic.erase(most);
    }
    give({topic, partition}, to);
    moved = true;
  }
  return moved;
}

void Uniform::assign_various_subscriptions() {
  // Overlapping subscriptions come near to balance with each round, but may never reach it.
  constexpr int kRoundsMax = 16;
  keep([](size_t) { return SIZE_MAX; });
  const auto topics = topics_by_need();
  for (const Uuid& topic : topics) {
    spread(topic);
  }
  bool moved = true;
  for (int round = 0; moved && round < kRoundsMax; ++round) {
    moved = false;
    for (const Uuid& topic : topics) {
      moved = balance(topic) || moved;
    }
  }
}

}  // namespace

Targets assign_uniform(const AssignmentTask& task) {
  Uniform uniform(task);
  if (task.subscribers.empty()) {
    return {};
  }
  is_homogeneous(task) ? uniform.assign_same_subscriptions()
                       : uniform.assign_various_subscriptions();
  return uniform.targets();
}

}  // namespace klamm::broker
