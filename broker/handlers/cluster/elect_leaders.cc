// ElectLeaders (key 43), v0-2 (KIP-183).   v1: unclean elections (KIP-460). Each partition by
// itself; without a list, all that need one. Answered when the records are committed.
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/elect_leaders_request.h"
#include "protocol/generated/elect_leaders_response.h"
#include "replication/controller/reassignment.h"

namespace klamm::broker {

using namespace protocol;
using replication::ElectionType;

namespace {

using TopicResult = ElectLeadersResponse::ReplicaElectionResult;

Result<> elect(Node& node, const std::string& topic, int32_t partition, ElectionType type) {
  TRY(auto record, replication::elect_leader(*node.working_image(), topic, partition, type));
  return node.append({std::move(record)});
}

void add(TopicResult& out, int32_t partition, const Result<>& elected) {
  auto& result = out.partition_result.emplace_back();
  result.partition_id = partition;
  result.error_message.reset();
  if (!elected) {
    result.error_code = elected.error().code;
    result.error_message = elected.error().why;
  }
}

// Those that need no election are left out.
ElectLeadersResponse elect_all(Node& node, ElectionType type) {
  ElectLeadersResponse response;
  const auto topics = node.working_image()->topics;
  for (const auto& [name, topic] : topics->by_name) {
    TopicResult out;
    out.topic = name;
    for (const auto& [index, partition] : topic->partitions) {
      const auto elected = elect(node, name, index, type);
      if (elected || elected.error().code != ErrorCode::kElectionNotNeeded) {
        add(out, index, elected);
      }
    }
    response.replica_election_results.push_back(std::move(out));
  }
  return response;
}

ElectLeadersResponse elect_some(Node& node, const ElectLeadersRequest& request, ElectionType type) {
  ElectLeadersResponse response;
  for (const auto& topic : *request.topic_partitions) {
    TopicResult& out = response.replica_election_results.emplace_back();
    out.topic = topic.topic;
    for (const int32_t index : topic.partitions) {
      add(out, index, elect(node, topic.topic, index, type));
    }
  }
  return response;
}

}  // namespace

void handle(RequestContext& context, ElectLeadersRequest&& request,
            Reply<ElectLeadersResponse> reply) {
  const auto type = static_cast<ElectionType>(request.election_type);
  if (type != ElectionType::kPreferred && type != ElectionType::kUnclean) {
    return reply.send({.error_code = ErrorCode::kInvalidRequest});
  }
  context.broker.at_controller(
      [request = std::move(request), type, reply = std::move(reply)](Node& node) mutable {
        auto response =
            request.topic_partitions ? elect_some(node, request, type) : elect_all(node, type);
        node.when_committed([response = std::move(response),
                             reply = std::move(reply)](const Result<>& committed) mutable {
          if (!committed) {
            response.replica_election_results.clear();
            response.error_code = committed.error().code;
          }
          reply.send(response);
        });
      });
}

}  // namespace klamm::broker
