// AllocateProducerIds (key 67), v0: a block of producer ids for one broker (KIP-730).
#include "broker/handlers/cluster/ask_controller.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, AllocateProducerIdsRequest&& request,
            Reply<AllocateProducerIdsResponse> reply) {
  ask_controller(context, std::move(request), std::move(reply));
}

}  // namespace klamm::broker
