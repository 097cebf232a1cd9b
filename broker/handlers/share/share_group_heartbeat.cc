// ShareGroupHeartbeat (key 76), v1 (KIP-932).   Answered when what it changed is committed and the
// share coordinator keeps state of the partitions that the group began to read.
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/groups/group_protocols.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/share_group_heartbeat_request.h"
#include "protocol/generated/share_group_heartbeat_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, ShareGroupHeartbeatRequest&& request,
            Reply<ShareGroupHeartbeatResponse> reply) {
  if (!serves_share_groups(context.broker)) {
    return reply.send({.error_code = ErrorCode::kUnsupportedVersion});
  }
  if (request.group_id.empty()) {  // not INVALID_GROUP_ID, as elsewhere
    return reply.send(
        {.error_code = ErrorCode::kInvalidRequest, .error_message = "GroupId can't be empty."});
  }
  const ClientInfo client{context.client_id, context.client_host, context.version};
  const std::string group_id = request.group_id;
  context.broker.with_group(
      group_id, [request = std::move(request), client, reply = std::move(reply)](
                    Result<GroupShard*> shard, Broker& owner) mutable {
        if (!shard) {
          return reply.send({.error_code = shard.error().code});
        }
        (*shard)->share_heartbeat(
            request, client, owner.clock().wall_ms(),
            [reply = std::move(reply)](const auto& response) mutable { reply.send(response); });
      });
}

}  // namespace klamm::broker
