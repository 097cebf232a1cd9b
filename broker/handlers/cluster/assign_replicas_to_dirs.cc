// AssignReplicasToDirs (key 73), v0: where a broker keeps its replicas (KIP-858).
#include "broker/cluster/controller.h"
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/assign_replicas_to_dirs_request.h"
#include "protocol/generated/assign_replicas_to_dirs_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, AssignReplicasToDirsRequest&& request,
            Reply<AssignReplicasToDirsResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        node.controller().handle(
            request, reply.version(),
            [reply = std::move(reply)](AssignReplicasToDirsResponse response) mutable {
              reply.send(response);
            });
        node.raft_driver().arm();
      });
}

}  // namespace klamm::broker
