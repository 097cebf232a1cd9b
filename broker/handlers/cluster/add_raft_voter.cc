// AddRaftVoter (key 80), v0-1 (KIP-853): a controller that has caught up gets a vote.   v1: may be
// answered before that is committed.
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/add_raft_voter_request.h"
#include "protocol/generated/add_raft_voter_response.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, AddRaftVoterRequest&& request,
            Reply<AddRaftVoterResponse> reply) {
  context.broker.at_controller([request = std::move(request),
                                reply = std::move(reply)](Node& node) mutable {
    node.quorum().raft().add_voter(request, [reply = std::move(reply)](Result<> outcome) mutable {
      AddRaftVoterResponse response;
      response.error_message.reset();
      if (!outcome) {
        response.error_code = outcome.error().code;
        response.error_message = std::move(outcome.error().why);
      }
      reply.send(response);
    });
    node.raft_driver().arm();
  });
}

}  // namespace klamm::broker
