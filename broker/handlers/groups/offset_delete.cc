// OffsetDelete (key 47), v0 (KIP-496).   Answered when the tombstones are committed.
#include "broker/broker.h"
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/handlers.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, OffsetDeleteRequest&& request,
            Reply<OffsetDeleteResponse> reply) {
  const std::string id = request.group_id;
  context.broker.with_group(id, [request = std::move(request), reply = std::move(reply)](
                                    Result<GroupShard*> shard, Broker&) mutable {
    if (!shard) {
      return reply.send({.error_code = shard.error().code});
    }
    (*shard)->remove_offsets(
        request, [reply = std::move(reply)](const OffsetDeleteResponse& response) mutable {
          reply.send(response);
        });
  });
}

}  // namespace klamm::broker
