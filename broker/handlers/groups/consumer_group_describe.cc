// ConsumerGroupDescribe (key 69), v0-1 (KIP-848).   v1: the protocol that each member speaks.
// Answers at once; never parked.
#include "broker/ask_owners.h"
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/groups/group_protocols.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/consumer_group_describe_request.h"
#include "protocol/generated/consumer_group_describe_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Described = ConsumerGroupDescribeResponse::DescribedGroup;

Described describe(Broker& broker, const std::string& id) {
  Described out;
  out.group_id = id;
  broker.with_own_group(id, [&](Result<GroupShard*> shard) {
    auto described = shard ? (*shard)->describe_consumer_group(id)
                           : Result<Described>(std::unexpected(shard.error()));
    if (described) {
      out = std::move(*described);
    } else {
      out.error_code = described.error().code;
      out.error_message = described.error().why;
    }
  });
  return out;
}

}  // namespace

void handle(RequestContext& context, ConsumerGroupDescribeRequest&& request,
            Reply<ConsumerGroupDescribeResponse> reply) {
  if (!serves_consumer_groups(context.broker)) {
    ConsumerGroupDescribeResponse response;
    for (const auto& id : request.group_ids) {
      response.groups.push_back({.error_code = ErrorCode::kUnsupportedVersion, .group_id = id});
    }
    return reply.send(response);
  }
  ask_owners(
      context.broker, std::move(request.group_ids),
      [&broker = context.broker](const std::string& id) { return broker.group_owner(id); },
      [](Broker& broker, const std::string& id) { return describe(broker, id); },
      [with_operations = request.include_authorized_operations,
       reply = std::move(reply)](std::vector<Described> groups) mutable {
        ConsumerGroupDescribeResponse response;
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
