// BrokerRegistration (key 62), v0-4. Answered with the epoch of the broker when that is committed.
#include "broker/handlers/cluster/ask_controller.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, BrokerRegistrationRequest&& request,
            Reply<BrokerRegistrationResponse> reply) {
  ask_controller(context, std::move(request), std::move(reply));
}

}  // namespace klamm::broker
