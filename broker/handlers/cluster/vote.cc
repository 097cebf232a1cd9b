// Vote (key 52), v0-2.   v1: directories of the voters.   v2: pre-vote (KIP-996). Answered when the
// vote is on the medium.
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/vote_request.h"
#include "protocol/generated/vote_response.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, VoteRequest&& request, Reply<VoteResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        reply.send(node.quorum().raft().vote(request));
        node.raft_driver().arm();
      });
}

}  // namespace klamm::broker
