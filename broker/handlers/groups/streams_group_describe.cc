// StreamsGroupDescribe (key 89), v0-v1 (KIP-1071).   Answers at once; never parked.
#include "broker/handlers/groups/describing.h"
#include "broker/handlers/groups/group_protocols.h"
#include "protocol/generated/streams_group_describe_request.h"
#include "protocol/generated/streams_group_describe_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, StreamsGroupDescribeRequest&& request,
            Reply<StreamsGroupDescribeResponse> reply) {
  // Nobody keeps descriptions here, as in Apache Kafka without a plugin for it.
  constexpr int8_t kNotStored = 1;
  const int8_t status = request.include_topology_description ? kNotStored : 0;
  describe_groups(
      context.broker, std::move(request), serves_streams_groups(context.broker),
      [status](const GroupShard& shard, const std::string& id) {
        auto described = shard.describe_streams_group(id);
        if (described) {
          described->topology_description_status = status;
        }
        return described;
      },
      std::move(reply));
}

}  // namespace klamm::broker
