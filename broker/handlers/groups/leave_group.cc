// LeaveGroup (key 13), v0-5.   v3: several members at once, static ones by their instance id
// (KIP-345).   v5: reason. Answers at once; never parked.
#include "broker/broker.h"
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/leave_group_request.h"
#include "protocol/generated/leave_group_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

LeaveGroupResponse leave(GroupShard& shard, const LeaveGroupRequest& request, int16_t version,
                         int64_t now_ms) {
  LeaveGroupResponse response;
  if (version < 3) {
    response.error_code = shard.leave(request.group_id, request.member_id, std::nullopt, now_ms);
    return response;
  }
  for (const auto& member : request.members) {
    response.members.push_back({.member_id = member.member_id,
                                .group_instance_id = member.group_instance_id,
                                .error_code = shard.leave(request.group_id, member.member_id,
                                                          member.group_instance_id, now_ms)});
  }
  return response;
}

}  // namespace

void handle(RequestContext& context, LeaveGroupRequest&& request, Reply<LeaveGroupResponse> reply) {
  const std::string group_id = request.group_id;
  context.broker.with_group(group_id, [request = std::move(request), reply = std::move(reply)](
                                          Result<GroupShard*> shard, Broker& owner) mutable {
    if (!shard) {
      return reply.send({.error_code = shard.error().code});
    }
    reply.send(leave(**shard, request, reply.version(), owner.groups().now_ms()));
  });
}

}  // namespace klamm::broker
