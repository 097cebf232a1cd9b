// BrokerHeartbeat (key 63), v0-2. What follows from it is committed before it is answered.
#include "broker/cluster/controller.h"
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/broker_heartbeat_request.h"
#include "protocol/generated/broker_heartbeat_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, BrokerHeartbeatRequest&& request,
            Reply<BrokerHeartbeatResponse> reply) {
  context.broker.at_controller([request = std::move(request),
                                reply = std::move(reply)](Node& node) mutable {
    node.controller().handle(request, reply.version(),
                             [reply = std::move(reply)](BrokerHeartbeatResponse response) mutable {
                               reply.send(response);
                             });
    node.raft_driver().arm();
  });
}

}  // namespace klamm::broker
