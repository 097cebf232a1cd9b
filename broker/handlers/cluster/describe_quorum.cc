// DescribeQuorum (key 55), v0-2.   v1: times of the last fetch.   v2: directories and listeners. A
// broker forwards it to the active controller.
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/describe_quorum_request.h"
#include "protocol/generated/describe_quorum_response.h"
#include "replication/raft/quorum.h"
#include "replication/raft/raft_requests.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, DescribeQuorumRequest&& request,
            Reply<DescribeQuorumResponse> reply) {
  const auto* const asked = replication::only_partition(request.topics);
  if (asked == nullptr || request.topics[0].topic_name != replication::kMetadataTopic ||
      asked->partition_index != 0) {
    DescribeQuorumResponse response;
    for (const auto& topic : request.topics) {
      auto& out = response.topics.emplace_back();
      out.topic_name = topic.topic_name;
      for (const auto& partition : topic.partitions) {
        out.partitions.push_back({.partition_index = partition.partition_index,
                                  .error_code = ErrorCode::kUnknownTopicOrPartition});
      }
    }
    return reply.send(response);
  }
  context.broker.at_controller([reply = std::move(reply)](Node& node) mutable {
    reply.send(node.quorum().raft().describe());
  });
}

}  // namespace klamm::broker
