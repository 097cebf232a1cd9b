// SyncGroup (key 14), v0-5.   v3: static members.   v5: protocol type and name are checked and
// answered. Parked until the leader's assignment is committed.
#include "broker/broker.h"
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/sync_group_request.h"
#include "protocol/generated/sync_group_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, SyncGroupRequest&& request, Reply<SyncGroupResponse> reply) {
  if (context.version >= 5 && (!request.protocol_type || !request.protocol_name)) {
    return reply.send({.error_code = ErrorCode::kInconsistentGroupProtocol});
  }
  const std::string group_id = request.group_id;
  context.broker.with_group(group_id, [request = std::move(request), reply = std::move(reply)](
                                          Result<GroupShard*> shard, Broker& owner) mutable {
    if (!shard) {
      return reply.send({.error_code = shard.error().code});
    }
    auto shared = std::make_shared<Reply<SyncGroupResponse>>(std::move(reply));
    (*shard)->sync(request, owner.groups().now_ms(),
                   [shared](const SyncGroupResponse& response) { shared->send(response); });
  });
}

}  // namespace klamm::broker
