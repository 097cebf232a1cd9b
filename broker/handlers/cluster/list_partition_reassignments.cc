// ListPartitionReassignments (key 46), v0: the moves under way, of all topics or of some.
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/list_partition_reassignments_request.h"
#include "protocol/generated/list_partition_reassignments_response.h"
#include "replication/controller/reassignment.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Answer = ListPartitionReassignmentsResponse;

void add(Answer& response, const std::string& topic, int32_t index,
         const replication::PartitionImage& partition) {
  if (!replication::is_reassigned(partition)) {
    return;
  }
  if (response.topics.empty() || response.topics.back().name != topic) {
    response.topics.emplace_back().name = topic;
  }
  response.topics.back().partitions.push_back({.partition_index = index,
                                               .replicas = partition.replicas,
                                               .adding_replicas = partition.adding,
                                               .removing_replicas = partition.removing});
}

}  // namespace

void handle(RequestContext& context, ListPartitionReassignmentsRequest&& request,
            Reply<ListPartitionReassignmentsResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        Answer response;
        response.error_message.reset();
        const auto& image = *node.image();
        if (!request.topics) {
          for (const auto& [name, topic] : image.topics->by_name) {
            for (const auto& [index, partition] : topic->partitions) {
              add(response, name, index, partition);
            }
          }
          return reply.send(response);
        }
        for (const auto& topic : *request.topics) {
          for (const int32_t index : topic.partition_indexes) {
            if (const auto* const partition = image.partition(topic.name, index)) {
              add(response, topic.name, index, *partition);
            }
          }
        }
        reply.send(response);
      });
}

}  // namespace klamm::broker
