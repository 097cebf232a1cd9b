// EndQuorumEpoch (key 54), v0-1.   v1: candidates with their directories.
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/end_quorum_epoch_request.h"
#include "protocol/generated/end_quorum_epoch_response.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, EndQuorumEpochRequest&& request,
            Reply<EndQuorumEpochResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        reply.send(node.quorum().raft().end_epoch(request));
        node.raft_driver().arm();
      });
}

}  // namespace klamm::broker
