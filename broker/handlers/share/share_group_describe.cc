// ShareGroupDescribe (key 77), v1 (KIP-932).   Answers at once; never parked.
#include "broker/handlers/groups/describing.h"
#include "broker/handlers/groups/group_protocols.h"
#include "protocol/generated/share_group_describe_request.h"
#include "protocol/generated/share_group_describe_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, ShareGroupDescribeRequest&& request,
            Reply<ShareGroupDescribeResponse> reply) {
  describe_groups(
      context.broker, std::move(request), serves_share_groups(context.broker),
      [](const GroupShard& shard, const std::string& id) { return shard.describe_share_group(id); },
      std::move(reply));
}

}  // namespace klamm::broker
