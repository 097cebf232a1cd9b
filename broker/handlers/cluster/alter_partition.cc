// AlterPartition (key 56), v2-3.   v3: epochs of the ISR's brokers (KIP-841, KIP-903).
#include "broker/handlers/cluster/ask_controller.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, AlterPartitionRequest&& request,
            Reply<AlterPartitionResponse> reply) {
  ask_controller(context, std::move(request), std::move(reply));
}

}  // namespace klamm::broker
