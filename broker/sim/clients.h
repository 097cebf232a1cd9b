#pragma once
// What all clients of the simulated cluster do alike: find coordinators and leaders, and take
// batches apart.
#include <functional>
#include <string>

#include "broker/sim/sim_cluster.h"
#include "protocol/generated/fetch_request.h"
#include "protocol/generated/find_coordinator_request.h"
#include "protocol/generated/find_coordinator_response.h"
#include "protocol/records/batch.h"

namespace klamm::broker::sim {

inline constexpr int64_t kClientTimeoutMs = 5'000;

// Asks some node; `then` gets the coordinator, or that node when it does not know.
inline void find_coordinator(SimCluster& cluster, int8_t type, const std::string& key,
                             std::function<void(size_t node)> then) {
  protocol::FindCoordinatorRequest request;
  request.key_type = type;
  request.coordinator_keys = {key};
  const size_t asked = cluster.random().next() % cluster.size();
  cluster.ask<protocol::FindCoordinatorResponse>(
      asked, std::move(request), kClientTimeoutMs,
      [then = std::move(then), asked](const Result<protocol::FindCoordinatorResponse>& answer) {
        const bool found = answer && answer->coordinators.size() == 1 &&
                           answer->coordinators[0].error_code == ErrorCode::kNone;
        then(found ? static_cast<size_t>(answer->coordinators[0].node_id - 1) : asked);
      });
}

// A topic as the first node that knows it has it; null if none does.
inline replication::TopicPtr topic_of(SimCluster& cluster, const std::string& name) {
  replication::TopicPtr topic;
  for (size_t i = 0; i < cluster.size() && topic == nullptr; ++i) {
    topic = cluster.is_up(i) ? cluster.node(i)->image()->topic(name) : nullptr;
  }
  return topic;
}

// As one of the nodes sees it, not always the same one: `guess` moves on.
inline size_t leader_of(SimCluster& cluster, const std::string& topic, int32_t partition,
                        size_t& guess) {
  const size_t node = guess++ % cluster.size();
  const auto* const image =
      cluster.is_up(node) ? cluster.node(node)->image()->partition(topic, partition) : nullptr;
  return image != nullptr && image->leader > 0 ? static_cast<size_t>(image->leader - 1)
                                               : guess % cluster.size();
}

struct Leader {
  size_t node = 0;
  int32_t epoch = -1;  // -1: there is none
  bool operator==(const Leader&) const = default;
};
// As the newest image among the nodes has it. Another one may still think that it leads.
inline Leader newest_leader(SimCluster& cluster, const std::string& topic, int32_t partition) {
  Leader newest;
  for (size_t i = 0; i < cluster.size(); ++i) {
    const auto* const image =
        cluster.is_up(i) ? cluster.node(i)->image()->partition(topic, partition) : nullptr;
    if (image != nullptr && image->leader > 0 && image->leader_epoch > newest.epoch) {
      newest = {static_cast<size_t>(image->leader - 1), image->leader_epoch};
    }
  }
  return newest;
}

// What a reader of one partition asks for.
inline protocol::FetchRequest fetch_of(const protocol::Uuid& topic_id, int32_t partition,
                                       int64_t offset, int8_t isolation_level) {
  protocol::FetchRequest request;
  request.max_wait_ms = 200;
  request.min_bytes = 1;
  request.isolation_level = isolation_level;
  request.session_epoch = -1;
  request.topics = {
      {.topic_id = topic_id,
       .partitions = {
           {.partition = partition, .fetch_offset = offset, .partition_max_bytes = 4096}}}};
  return request;
}

// Calls `use` with the offset and the value of each record that has one.
template <class Use>
void each_record(const protocol::BatchView& batch, const Use& use) {
  protocol::RecordIterator iterator(batch.body(), batch.count());
  for (auto record = iterator.next(); record && *record; record = iterator.next()) {
    if (const auto& value = (*record)->value) {
      use(batch.base_offset() + (*record)->offset_delta,
          std::string(reinterpret_cast<const char*>(value->data()), value->size()));
    }
  }
}

}  // namespace klamm::broker::sim
