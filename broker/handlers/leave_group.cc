// LeaveGroup (key 13), v0-5.   v3: several members at once, static ones by their instance id
// (KIP-345).   v5: reason. Answers at once; never parked.
#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/leave_group_request.h"
#include "protocol/generated/leave_group_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, const LeaveGroupRequest& request,
            Reply<LeaveGroupResponse> reply) {
  LeaveGroupResponse response;
  const auto done =
      context.broker.groups().with(request.group_id, [&](GroupShard& shard, int64_t now_ms) {
        if (context.version < 3) {
          response.error_code =
              shard.leave(request.group_id, request.member_id, std::nullopt, now_ms);
          return;
        }
        for (const auto& member : request.members) {
          response.members.push_back({.member_id = member.member_id,
                                      .group_instance_id = member.group_instance_id,
                                      .error_code = shard.leave(request.group_id, member.member_id,
                                                                member.group_instance_id, now_ms)});
        }
      });
  if (!done) {
    response.error_code = done.error().code;
  }
  reply.send(response);
}

}  // namespace klamm::broker
