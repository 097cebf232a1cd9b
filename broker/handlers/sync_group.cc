// SyncGroup (key 14), v0-5.   v3: static members.   v5: protocol type and name are checked and
// answered. Parked until the leader's assignment is committed.
#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/sync_group_request.h"
#include "protocol/generated/sync_group_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, const SyncGroupRequest& request,
            Reply<SyncGroupResponse> reply) {
  auto shared = std::make_shared<Reply<SyncGroupResponse>>(std::move(reply));
  if (context.version >= 5 && (!request.protocol_type || !request.protocol_name)) {
    return shared->send({.error_code = ErrorCode::kInconsistentGroupProtocol});
  }
  const auto done = context.broker.groups().with(request.group_id, [&](GroupShard& shard,
                                                                       int64_t now_ms) {
    shard.sync(request, now_ms, [shared](SyncGroupResponse response) { shared->send(response); });
  });
  if (!done) {
    shared->send({.error_code = done.error().code});
  }
}

}  // namespace klamm::broker
