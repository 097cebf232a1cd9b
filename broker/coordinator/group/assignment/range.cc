#include <algorithm>

#include "broker/coordinator/group/assignment/assignor.h"

namespace klamm::broker {
namespace {

bool comes_first(const Subscriber* a, const Subscriber* b) {
  if (a->instance_id && b->instance_id) {
    return *a->instance_id < *b->instance_id;
  }
  if (a->instance_id.has_value() != b->instance_id.has_value()) {
    return a->instance_id.has_value();
  }
  return a->member_id < b->member_id;
}

}  // namespace

Targets assign_range(const AssignmentTask& task) {
  std::vector<const Subscriber*> order;
  Targets targets;
  for (const auto& subscriber : task.subscribers) {
    order.push_back(&subscriber);
    targets[subscriber.member_id];
  }
  std::ranges::sort(order, comes_first);
  for (const auto& [topic, count] : task.partitions) {
    const auto readers = static_cast<int32_t>(
        std::ranges::count_if(order, [&](auto* each) { return each->topics.contains(topic); }));
    int32_t next = 0;
    int32_t reader = 0;
    for (const Subscriber* subscriber : order) {
      if (!subscriber->topics.contains(topic)) {
        continue;
      }
      const int32_t end = next + count / readers + (reader < count % readers ? 1 : 0);
      ++reader;
      for (; next < end; ++next) {
        targets[subscriber->member_id][topic].insert(next);
      }
    }
  }
  return targets;
}

Assignor find_consumer_assignor(std::string_view name) {
  return name == "range" ? &assign_range : name == "uniform" ? &assign_uniform : nullptr;
}

bool is_homogeneous(const AssignmentTask& task) {
  return std::ranges::all_of(task.subscribers, [&](const Subscriber& each) {
    return each.topics == task.subscribers.front().topics;
  });
}

}  // namespace klamm::broker
