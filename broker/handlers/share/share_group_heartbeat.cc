// ShareGroupHeartbeat (key 76), v1 (KIP-932).   Answered when what it changed is committed and the
// share coordinator keeps state of the partitions that the group began to read.
#include "broker/handlers/groups/group_protocols.h"
#include "broker/handlers/groups/heartbeating.h"
#include "protocol/generated/share_group_heartbeat_request.h"
#include "protocol/generated/share_group_heartbeat_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, ShareGroupHeartbeatRequest&& request,
            Reply<ShareGroupHeartbeatResponse> reply) {
  heartbeat(context, std::move(request), serves_share_groups(context.broker),
            &GroupShard::share_heartbeat, std::move(reply));
}

}  // namespace klamm::broker
