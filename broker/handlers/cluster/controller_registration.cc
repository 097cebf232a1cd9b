// ControllerRegistration (key 70), v0.
#include "broker/cluster/controller.h"
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/controller_registration_request.h"
#include "protocol/generated/controller_registration_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, ControllerRegistrationRequest&& request,
            Reply<ControllerRegistrationResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        node.controller().handle(
            request, reply.version(),
            [reply = std::move(reply)](ControllerRegistrationResponse response) mutable {
              reply.send(response);
            });
        node.raft_driver().arm();
      });
}

}  // namespace klamm::broker
