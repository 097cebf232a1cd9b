// DescribeGroups (key 15), v0-6.   v3: authorised operations.   v4: static members.   v6: a group
// that does not exist is an error; before, it is Dead.   Answers at once; never parked.
#include "broker/ask_owners.h"
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/describe_groups_request.h"
#include "protocol/generated/describe_groups_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Described = DescribeGroupsResponse::DescribedGroup;

Described describe(Broker& broker, const std::string& id, int16_t version) {
  Described described;
  described.group_id = id;
  broker.with_own_group(id, [&](Result<GroupShard*> shard) {
    if (!shard) {
      described.error_code = shard.error().code;
    } else if (auto found = (*shard)->describe(id)) {
      described = std::move(*found);
    } else {
      described.group_state = "Dead";
      if (version >= 6) {
        described.error_code = ErrorCode::kGroupIdNotFound;
        described.error_message = "Group " + id + " not found.";
      }
    }
  });
  return described;
}

}  // namespace

void handle(RequestContext& context, DescribeGroupsRequest&& request,
            Reply<DescribeGroupsResponse> reply) {
  const bool with_operations = request.include_authorized_operations;
  ask_owners(
      context.broker, std::move(request.groups),
      [&broker = context.broker](const std::string& id) { return broker.group_owner(id); },
      [version = context.version](Broker& broker, const std::string& id) {
        return describe(broker, id, version);
      },
      [with_operations, reply = std::move(reply)](std::vector<Described> groups) mutable {
        DescribeGroupsResponse response;
        response.groups = std::move(groups);
        for (auto& group : response.groups) {
          if (with_operations && group.error_code == ErrorCode::kNone) {
            group.authorized_operations = kGroupOperations;
          }
        }
        reply.send(response);
      });
}

}  // namespace klamm::broker
