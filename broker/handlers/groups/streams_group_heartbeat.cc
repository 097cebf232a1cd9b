// StreamsGroupHeartbeat (key 88), v0-v1 (KIP-1071).   Answered when what it changed is committed;
// internal topics that are missing are made meanwhile.
#include "broker/handlers/groups/group_protocols.h"
#include "broker/handlers/groups/heartbeating.h"
#include "protocol/generated/streams_group_heartbeat_request.h"
#include "protocol/generated/streams_group_heartbeat_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, StreamsGroupHeartbeatRequest&& request,
            Reply<StreamsGroupHeartbeatResponse> reply) {
  heartbeat(context, std::move(request), serves_streams_groups(context.broker),
            &GroupShard::streams_heartbeat, std::move(reply));
}

}  // namespace klamm::broker
