// UnregisterBroker (key 64), v0: the cluster forgets a broker that will not come back.
#include "broker/handlers/cluster/ask_controller.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, UnregisterBrokerRequest&& request,
            Reply<UnregisterBrokerResponse> reply) {
  ask_controller(context, std::move(request), std::move(reply));
}

}  // namespace klamm::broker
