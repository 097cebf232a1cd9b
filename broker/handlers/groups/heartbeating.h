#pragma once
// What ConsumerGroupHeartbeat and ShareGroupHeartbeat have in common: what is refused before the
// group is asked, and the way to its owner.
#include <string>
#include <utility>

#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/handlers.h"

namespace klamm::broker {

// `beat` is the member of GroupShard that takes the request; it answers when what it changed is
// committed. Refuses with UNSUPPORTED_VERSION and INVALID_REQUEST.
template <class Request, class Response>
void heartbeat(RequestContext& context, Request&& request, bool is_served,
               void (GroupShard::*beat)(const Request&, const ClientInfo&, int64_t,
                                        Respond<Response>),
               Reply<Response> reply) {
  if (!is_served) {
    return reply.send({.error_code = ErrorCode::kUnsupportedVersion});
  }
  if (request.group_id.empty()) {  // not INVALID_GROUP_ID, as elsewhere
    return reply.send(
        {.error_code = ErrorCode::kInvalidRequest, .error_message = "GroupId can't be empty."});
  }
  const ClientInfo client{context.client_id, context.client_host, context.version};
  const std::string group_id = request.group_id;
  context.broker.with_group(
      group_id, [request = std::forward<Request>(request), client, beat, reply = std::move(reply)](
                    Result<GroupShard*> shard, Broker& owner) mutable {
        if (!shard) {
          return reply.send({.error_code = shard.error().code});
        }
        ((*shard)->*beat)(
            request, client, owner.groups().now_ms(),
            [reply = std::move(reply)](const auto& response) mutable { reply.send(response); });
      });
}

}  // namespace klamm::broker
