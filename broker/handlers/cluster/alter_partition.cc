// AlterPartition (key 56), v2-3.   v3: epochs of the ISR's brokers (KIP-841, KIP-903).
#include "broker/cluster/controller.h"
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/alter_partition_request.h"
#include "protocol/generated/alter_partition_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, AlterPartitionRequest&& request,
            Reply<AlterPartitionResponse> reply) {
  context.broker.at_controller([request = std::move(request),
                                reply = std::move(reply)](Node& node) mutable {
    node.controller().handle(request, reply.version(),
                             [reply = std::move(reply)](AlterPartitionResponse response) mutable {
                               reply.send(response);
                             });
    node.raft_driver().arm();
  });
}

}  // namespace klamm::broker
