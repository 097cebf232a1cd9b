// AssignReplicasToDirs (key 73), v0: where a broker keeps its replicas (KIP-858).
#include "broker/handlers/cluster/ask_controller.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, AssignReplicasToDirsRequest&& request,
            Reply<AssignReplicasToDirsResponse> reply) {
  ask_controller(context, std::move(request), std::move(reply));
}

}  // namespace klamm::broker
