// Heartbeat (key 12), v0-4.   v3: static members (KIP-345).   v4: flexible.   Answers at once;
// never parked.
#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/heartbeat_request.h"
#include "protocol/generated/heartbeat_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, const HeartbeatRequest& request,
            Reply<HeartbeatResponse> reply) {
  HeartbeatResponse response;
  const auto done =
      context.broker.groups().with(request.group_id, [&](GroupShard& shard, int64_t now_ms) {
        response.error_code = shard.heartbeat(request, now_ms);
      });
  // A coordinator that is still loading counts every heartbeat as good.
  if (!done && done.error().code != ErrorCode::kCoordinatorLoadInProgress) {
    response.error_code = done.error().code;
  }
  reply.send(response);
}

}  // namespace klamm::broker
