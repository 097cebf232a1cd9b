// BrokerHeartbeat (key 63), v0-2. What follows from it is committed before it is answered.
#include "broker/handlers/cluster/ask_controller.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, BrokerHeartbeatRequest&& request,
            Reply<BrokerHeartbeatResponse> reply) {
  ask_controller(context, std::move(request), std::move(reply));
}

}  // namespace klamm::broker
