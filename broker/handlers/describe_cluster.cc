// DescribeCluster (key 60), v0-2.   v1: brokers or controllers.   v2: fenced brokers too.   Never
// parked.
#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/describe_cluster_request.h"
#include "protocol/generated/describe_cluster_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int8_t kBrokers = 1;
constexpr int8_t kControllers = 2;

}  // namespace

void handle(RequestContext& context, DescribeClusterRequest&& request,
            Reply<DescribeClusterResponse> reply) {
  DescribeClusterResponse response;
  response.endpoint_type = request.endpoint_type;
  const bool at_controller = context.broker.config().is_controller_listener(context.listener_name);
  if (request.endpoint_type != (at_controller ? kControllers : kBrokers)) {
    const bool is_known =
        request.endpoint_type == kBrokers || request.endpoint_type == kControllers;
    response.error_code =
        is_known ? ErrorCode::kMismatchedEndpointType : ErrorCode::kUnsupportedEndpointType;
    response.error_message = std::string("The request was sent to an endpoint of type ") +
                             (at_controller ? "CONTROLLER." : "BROKER.");
    return reply.send(response);
  }
  if (at_controller) {
    response.cluster_id = context.broker.cluster_id();
    response.controller_id = context.broker.node().controller_id();
    for (const auto& [id, controller] : context.broker.image()->controllers) {
      for (const auto& endpoint : controller.endpoints) {
        if (endpoint.name == context.listener_name) {
          response.brokers.push_back(
              {.broker_id = id, .host = endpoint.host, .port = endpoint.port});
        }
      }
    }
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
