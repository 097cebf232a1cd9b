// ConsumerGroupHeartbeat (key 68), v0-1 (KIP-848).   v1: regular expressions, ids made by members.
// Answered when what it changed is committed.
#include "broker/handlers/groups/group_protocols.h"
#include "broker/handlers/groups/heartbeating.h"
#include "protocol/generated/consumer_group_heartbeat_request.h"
#include "protocol/generated/consumer_group_heartbeat_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, ConsumerGroupHeartbeatRequest&& request,
            Reply<ConsumerGroupHeartbeatResponse> reply) {
  heartbeat(context, std::move(request), serves_consumer_groups(context.broker),
            &GroupShard::consumer_heartbeat, std::move(reply));
}

}  // namespace klamm::broker
