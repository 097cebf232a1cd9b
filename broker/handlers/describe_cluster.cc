// DescribeCluster (key 60), v0-2.   v1: brokers or controllers.   v2: fenced brokers too.   Never
// parked.
#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/describe_cluster_request.h"
#include "protocol/generated/describe_cluster_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, DescribeClusterRequest&& request,
            Reply<DescribeClusterResponse> reply) {
  constexpr int8_t kBrokers = 1;
  DescribeClusterResponse response;
  response.endpoint_type = request.endpoint_type;
  if (request.endpoint_type != kBrokers) {
    response.error_code = request.endpoint_type == 2 ? ErrorCode::kMismatchedEndpointType
                                                     : ErrorCode::kUnsupportedEndpointType;
    response.error_message = "The request was sent to an endpoint of type BROKER.";
    return reply.send(response);
  }
  response.cluster_id = context.broker.cluster_id();
  response.controller_id = context.broker.config().node_id();
  for (const auto& [id, broker] : context.broker.image()->brokers) {
    for (const auto& endpoint : broker.endpoints) {
      if (endpoint.name == context.listener_name &&
          (!broker.fenced || request.include_fenced_brokers)) {
        response.brokers.push_back({.broker_id = id,
                                    .host = endpoint.host,
                                    .port = endpoint.port,
                                    .rack = broker.rack,
                                    .is_fenced = broker.fenced});
      }
    }
  }
  if (request.include_cluster_authorized_operations) {
    response.cluster_authorized_operations = kClusterOperations;
  }
  reply.send(response);
}

}  // namespace klamm::broker
