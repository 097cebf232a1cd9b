// Heartbeat (key 12), v0-4.   v3: static members (KIP-345).   v4: flexible.   Answers at once;
// never parked.
#include "broker/broker.h"
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/heartbeat_request.h"
#include "protocol/generated/heartbeat_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, HeartbeatRequest&& request, Reply<HeartbeatResponse> reply) {
  const std::string group_id = request.group_id;
  context.broker.with_group(group_id, [request = std::move(request), reply = std::move(reply)](
                                          Result<GroupShard*> shard, Broker& owner) mutable {
    HeartbeatResponse response;
    if (shard) {
      response.error_code = (*shard)->heartbeat(request, owner.groups().now_ms());
    } else if (shard.error().code != ErrorCode::kCoordinatorLoadInProgress) {
      // A coordinator that is still loading counts every heartbeat as good.
      response.error_code = shard.error().code;
    }
    reply.send(response);
  });
}

}  // namespace klamm::broker
