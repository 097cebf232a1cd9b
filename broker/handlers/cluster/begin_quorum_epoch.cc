// BeginQuorumEpoch (key 53), v0-1.   v1: endpoints of the leader.
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/begin_quorum_epoch_request.h"
#include "protocol/generated/begin_quorum_epoch_response.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, BeginQuorumEpochRequest&& request,
            Reply<BeginQuorumEpochResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        reply.send(node.quorum().raft().begin_epoch(request));
        node.raft_driver().arm();
      });
}

}  // namespace klamm::broker
