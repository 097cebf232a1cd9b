#include "broker/sim/membership.h"

#include "broker/sim/clients.h"
#include "protocol/generated/consumer_group_heartbeat_request.h"
#include "protocol/generated/consumer_group_heartbeat_response.h"
#include "protocol/generated/streams_group_heartbeat_request.h"
#include "protocol/generated/streams_group_heartbeat_response.h"

namespace klamm::broker::sim {

using namespace protocol;

namespace {

constexpr const char* kConsumerGroup = "k";
constexpr const char* kStreamsGroup = "app";
constexpr const char* kSubtopology = "0";
constexpr int32_t kRebalanceTimeoutMs = 60'000;

// What all kinds of heartbeats have.
template <class Request>
Request request_of(const std::string& group, const Said& said) {
  Request request;
  request.group_id = group;
  request.member_id = said.member_id;
  request.member_epoch = said.epoch;
  if (said.epoch >= 0) {
    request.rebalance_timeout_ms = kRebalanceTimeoutMs;
  }
  return request;
}

// `partitions` is what the answer says of the member's assignment, if anything.
template <class Response, class Request, class Partitions>
void ask(SimCluster& cluster, size_t node, Request request, Partitions partitions,
         Membership::Then then) {
  cluster.ask<Response>(
      node, std::move(request), kClientTimeoutMs,
      [partitions = std::move(partitions), then = std::move(then)](const Result<Response>& answer) {
        if (!answer) {
          return then(std::unexpected(answer.error()));
        }
        then(Told{answer->error_code, answer->member_epoch, partitions(*answer)});
      });
}

template <class Lists>
std::set<int32_t> all_of(const Lists& lists) {
  std::set<int32_t> all;
  for (const auto& list : lists) {
    all.insert(list.partitions.begin(), list.partitions.end());
  }
  return all;
}

void consumer_heartbeat(SimCluster& cluster, size_t node, const Said& said,
                        const std::string& topic, const Uuid& topic_id, Membership::Then then) {
  auto request = request_of<ConsumerGroupHeartbeatRequest>(kConsumerGroup, said);
  if (said.epoch >= 0) {
    request.subscribed_topic_names = std::vector<std::string>{topic};
    request.topic_partitions.emplace();
    if (!said.owned.empty()) {
      request.topic_partitions->push_back(
          {.topic_id = topic_id, .partitions = {said.owned.begin(), said.owned.end()}});
    }
  }
  ask<ConsumerGroupHeartbeatResponse>(
      cluster, node, std::move(request),
      [](const ConsumerGroupHeartbeatResponse& answer) -> std::optional<std::set<int32_t>> {
        return answer.assignment ? std::optional(all_of(answer.assignment->topic_partitions))
                                 : std::nullopt;
      },
      std::move(then));
}

void streams_heartbeat(SimCluster& cluster, size_t node, const Said& said, const std::string& topic,
                       const Uuid&, Membership::Then then) {
  auto request = request_of<StreamsGroupHeartbeatRequest>(kStreamsGroup, said);
  if (said.epoch == 0) {
    request.process_id = "process of " + said.member_id;
    request.topology.emplace().subtopologies = {{
        .subtopology_id = kSubtopology,
        .source_topics = {topic},
        .state_changelog_topics = {{.name = "app-store-changelog", .replication_factor = 3}},
    }};
  }
  if (said.epoch >= 0) {
    request.active_tasks.emplace();
    request.standby_tasks.emplace();
    request.warmup_tasks.emplace();
    if (!said.owned.empty()) {
      request.active_tasks->push_back(
          {.subtopology_id = kSubtopology, .partitions = {said.owned.begin(), said.owned.end()}});
    }
  }
  ask<StreamsGroupHeartbeatResponse>(
      cluster, node, std::move(request),
      [](const StreamsGroupHeartbeatResponse& answer) -> std::optional<std::set<int32_t>> {
        return answer.active_tasks ? std::optional(all_of(*answer.active_tasks)) : std::nullopt;
      },
      std::move(then));
}

}  // namespace

Membership consumer_membership() { return {kConsumerGroup, consumer_heartbeat}; }

Membership streams_membership() { return {kStreamsGroup, streams_heartbeat}; }

}  // namespace klamm::broker::sim
