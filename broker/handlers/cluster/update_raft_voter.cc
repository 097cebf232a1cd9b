// UpdateRaftVoter (key 82), v0 (KIP-853): a voter tells the leader its directory, where it is
// reached and what it supports.
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/update_raft_voter_request.h"
#include "protocol/generated/update_raft_voter_response.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, UpdateRaftVoterRequest&& request,
            Reply<UpdateRaftVoterResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        reply.send(node.quorum().raft().update_voter(request));
        node.raft_driver().arm();
      });
}

}  // namespace klamm::broker
