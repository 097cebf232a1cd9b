// RemoveRaftVoter (key 81), v0 (KIP-853). Answered when it is committed; a leader that removes
// itself hands over then.
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/remove_raft_voter_request.h"
#include "protocol/generated/remove_raft_voter_response.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, RemoveRaftVoterRequest&& request,
            Reply<RemoveRaftVoterResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        node.quorum().raft().remove_voter(
            request, [reply = std::move(reply)](Result<> outcome) mutable {
              RemoveRaftVoterResponse response;
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
