// ConsumerGroupDescribe (key 69), v0-1 (KIP-848).   v1: the protocol that each member speaks.
// Answers at once; never parked.
#include "broker/handlers/groups/describing.h"
#include "broker/handlers/groups/group_protocols.h"
#include "protocol/generated/consumer_group_describe_request.h"
#include "protocol/generated/consumer_group_describe_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, ConsumerGroupDescribeRequest&& request,
            Reply<ConsumerGroupDescribeResponse> reply) {
  describe_groups(
      context.broker, std::move(request), serves_consumer_groups(context.broker),
      [](const GroupShard& shard, const std::string& id) {
        return shard.describe_consumer_group(id);
      },
      std::move(reply));
}

}  // namespace klamm::broker
