// JoinGroup (key 11), v0-9.   v1: rebalance timeout.   v4: MEMBER_ID_REQUIRED (KIP-394).   v5:
// static members (KIP-345). v7: protocol type in the answer.   v8: reason.   v9: a leader may skip
// the assignment (KIP-814). Parked until the rebalance is complete.
#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/join_group_request.h"
#include "protocol/generated/join_group_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

// Before version 7 a missing protocol has no form on the wire.
void send(Reply<JoinGroupResponse>& reply, JoinGroupResponse response) {
  if (reply.version() < 7 && !response.protocol_name) {
    response.protocol_name = "";
  }
  reply.send(response);
}

}  // namespace

void handle(RequestContext& context, const JoinGroupRequest& request,
            Reply<JoinGroupResponse> reply) {
  const JoinContext join{
      .client_id = context.client_id,
      .client_host = context.client_host,
      .needs_known_member_id = context.version >= 4 && !request.group_instance_id,
      .can_skip_assignment = context.version >= 9};
  auto shared = std::make_shared<Reply<JoinGroupResponse>>(std::move(reply));
  const auto done =
      context.broker.groups().with(request.group_id, [&](GroupShard& shard, int64_t now_ms) {
        shard.join(request, join, now_ms,
                   [shared](JoinGroupResponse response) { send(*shared, std::move(response)); });
      });
  if (!done) {
    send(*shared, {.error_code = done.error().code,
                   .protocol_name = std::nullopt,
                   .member_id = request.member_id});
  }
}

}  // namespace klamm::broker
