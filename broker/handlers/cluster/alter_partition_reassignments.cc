// AlterPartitionReassignments (key 45), v0-1 (KIP-455).   v1: may refuse to change the replication
// factor (KIP-860). Each partition succeeds or fails by itself. Answered when the records are
// committed; the move itself goes on.
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/alter_partition_reassignments_request.h"
#include "protocol/generated/alter_partition_reassignments_response.h"
#include "replication/controller/reassignment.h"

namespace klamm::broker {

using namespace protocol;

namespace {

Result<> reassign(Node& node, const std::string& topic,
                  const AlterPartitionReassignmentsRequest::ReassignablePartition& asked,
                  bool may_change_factor) {
  TRY(auto record,
      replication::reassign_partition(*node.working_image(), topic, asked.partition_index,
                                      asked.replicas, may_change_factor, node.topic_defaults()));
  return record ? node.append({std::move(*record)}) : Result<>();
}

}  // namespace

void handle(RequestContext& context, AlterPartitionReassignmentsRequest&& request,
            Reply<AlterPartitionReassignmentsResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        AlterPartitionReassignmentsResponse response;
        response.error_message.reset();
        response.allow_replication_factor_change = request.allow_replication_factor_change;
        for (const auto& topic : request.topics) {
          auto& out = response.responses.emplace_back();
          out.name = topic.name;
          for (const auto& partition : topic.partitions) {
            auto& result = out.partitions.emplace_back();
            result.partition_index = partition.partition_index;
            result.error_message.reset();
            if (const auto done =
                    reassign(node, topic.name, partition, request.allow_replication_factor_change);
                !done) {
              result.error_code = done.error().code;
              result.error_message = done.error().why;
            }
          }
        }
        node.when_committed([response = std::move(response),
                             reply = std::move(reply)](const Result<>& committed) mutable {
          if (!committed) {
            response.responses.clear();
            response.error_code = committed.error().code;
            response.error_message = committed.error().why;
          }
          reply.send(response);
        });
      });
}

}  // namespace klamm::broker
