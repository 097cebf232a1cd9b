// AllocateProducerIds (key 67), v0: a block of producer ids for one broker (KIP-730).
#include "broker/cluster/controller.h"
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/allocate_producer_ids_request.h"
#include "protocol/generated/allocate_producer_ids_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, AllocateProducerIdsRequest&& request,
            Reply<AllocateProducerIdsResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        node.controller().handle(
            request, reply.version(),
            [reply = std::move(reply)](AllocateProducerIdsResponse response) mutable {
              reply.send(response);
            });
        node.raft_driver().arm();
      });
}

}  // namespace klamm::broker
