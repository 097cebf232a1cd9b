// DescribeGroups (key 15), v0-6.   v3: authorised operations.   v4: static members.   v6: a group
// that does not exist is an error; before, it is Dead.   Answers at once; never parked.
#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/describe_groups_request.h"
#include "protocol/generated/describe_groups_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, const DescribeGroupsRequest& request,
            Reply<DescribeGroupsResponse> reply) {
  DescribeGroupsResponse response;
  for (const auto& id : request.groups) {
    DescribeGroupsResponse::DescribedGroup described;
    described.group_id = id;
    const auto done = context.broker.groups().with(id, [&](const GroupShard& shard, int64_t) {
      if (auto found = shard.describe(id)) {
        described = std::move(*found);
        return;
      }
      described.group_state = "Dead";
      if (context.version >= 6) {
        described.error_code = ErrorCode::kGroupIdNotFound;
        described.error_message = "Group " + id + " not found.";
      }
    });
    if (!done) {
      described.error_code = done.error().code;
    } else if (request.include_authorized_operations && described.error_code == ErrorCode::kNone) {
      described.authorized_operations = kGroupOperations;
    }
    response.groups.push_back(std::move(described));
  }
  reply.send(response);
}

}  // namespace klamm::broker
