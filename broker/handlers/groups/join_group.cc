// JoinGroup (key 11), v0-9.   v1: rebalance timeout.   v4: MEMBER_ID_REQUIRED (KIP-394).   v5:
// static members (KIP-345). v7: protocol type in the answer.   v8: reason.   v9: a leader may skip
// the assignment (KIP-814). Parked until the rebalance is complete.
#include "broker/broker.h"
#include "broker/coordinator/group/group_shard.h"
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

void handle(RequestContext& context, JoinGroupRequest&& request, Reply<JoinGroupResponse> reply) {
  const JoinContext join{
      .client_id = context.client_id,
      .client_host = context.client_host,
      .needs_known_member_id = context.version >= 4 && !request.group_instance_id,
      .can_skip_assignment = context.version >= 9};
  const std::string group_id = request.group_id;
  context.broker.with_group(group_id, [request = std::move(request), join,
                                       reply = std::move(reply)](Result<GroupShard*> shard,
                                                                 Broker& owner) mutable {
    if (!shard) {
      return send(reply, {.error_code = shard.error().code,
                          .protocol_name = std::nullopt,
                          .member_id = request.member_id});
    }
    auto shared = std::make_shared<Reply<JoinGroupResponse>>(std::move(reply));
    (*shard)->join(request, join, owner.groups().now_ms(),
                   [shared](JoinGroupResponse response) { send(*shared, std::move(response)); });
  });
}

}  // namespace klamm::broker
