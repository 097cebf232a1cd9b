// DescribeTopicPartitions (key 75), v0 (KIP-966): topics in pages of partitions, with their
// eligible leader replicas. Answers at once; never parked.
#include <algorithm>
#include <set>

#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/describe_topic_partitions_request.h"
#include "protocol/generated/describe_topic_partitions_response.h"
#include "replication/controller/topics.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Topic = DescribeTopicPartitionsResponse::DescribeTopicPartitionsResponseTopic;

Topic missing(const std::string& name) {
  Topic topic;
  topic.name = name;
  topic.error_code = replication::check_topic_name(name) ? ErrorCode::kUnknownTopicOrPartition
                                                         : ErrorCode::kInvalidTopicException;
  return topic;
}

// Appends partitions from `from` on while `room` lasts; the first one left out, or -1.
int32_t add_partitions(const replication::TopicImage& image, int32_t from, int64_t& room,
                       Topic& topic) {
  for (auto it = image.partitions.lower_bound(from); it != image.partitions.end(); ++it) {
    if (room-- <= 0) {
      return it->first;
    }
    const auto& [index, partition] = *it;
    topic.partitions.push_back({.partition_index = index,
                                .leader_id = partition.leader,
                                .leader_epoch = partition.leader_epoch,
                                .replica_nodes = partition.replicas,
                                .isr_nodes = partition.isr,
                                .eligible_leader_replicas = partition.elr,
                                .last_known_elr = partition.last_known_elr});
  }
  return -1;
}

}  // namespace

void handle(RequestContext& context, DescribeTopicPartitionsRequest&& request,
            Reply<DescribeTopicPartitionsResponse> reply) {
  DescribeTopicPartitionsResponse response;
  const auto& image = *context.broker.image();
  std::set<std::string> names;
  for (const auto& topic : request.topics) {
    names.insert(topic.name);
  }
  if (request.topics.empty()) {
    for (const auto& [name, topic] : image.topics->by_name) {
      names.insert(name);
    }
  }
  int64_t room =
      std::min<int64_t>(request.response_partition_limit,
                        context.broker.config().number("max.request.partition.size.limit"));
  const std::string first = request.cursor ? request.cursor->topic_name : "";
  for (auto name = names.lower_bound(first); name != names.end(); ++name) {
    const auto found = image.topic(*name);
    if (found == nullptr) {
      response.topics.push_back(missing(*name));
      continue;
    }
    Topic topic;
    topic.name = found->name;
    topic.topic_id = found->id;
    topic.is_internal = is_internal(found->name);
    topic.topic_authorized_operations = kTopicOperations;
    const int32_t from = request.cursor && *name == first ? request.cursor->partition_index : 0;
    const int32_t next = add_partitions(*found, from, room, topic);
    if (!topic.partitions.empty() || next < 0) {
      response.topics.push_back(std::move(topic));
    }
    if (next >= 0) {
      response.next_cursor.emplace();
      response.next_cursor->topic_name = *name;
      response.next_cursor->partition_index = next;
      break;
    }
  }
  reply.send(response);
}

}  // namespace klamm::broker
