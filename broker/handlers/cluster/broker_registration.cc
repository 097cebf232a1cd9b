// BrokerRegistration (key 62), v0-4. Answered with the epoch of the broker when that is committed.
#include "broker/cluster/controller.h"
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/broker_registration_request.h"
#include "protocol/generated/broker_registration_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, BrokerRegistrationRequest&& request,
            Reply<BrokerRegistrationResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        node.controller().handle(
            request, reply.version(),
            [reply = std::move(reply)](BrokerRegistrationResponse response) mutable {
              reply.send(response);
            });
        node.raft_driver().arm();
      });
}

}  // namespace klamm::broker
