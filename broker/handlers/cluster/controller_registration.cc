// ControllerRegistration (key 70), v0.
#include "broker/handlers/cluster/ask_controller.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, ControllerRegistrationRequest&& request,
            Reply<ControllerRegistrationResponse> reply) {
  ask_controller(context, std::move(request), std::move(reply));
}

}  // namespace klamm::broker
