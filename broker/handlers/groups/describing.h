#pragma once
// What ConsumerGroupDescribe and ShareGroupDescribe have in common: groups of many owners, by id.
#include <string>
#include <utility>
#include <vector>

#include "broker/ask_owners.h"
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/handlers.h"

namespace klamm::broker {

// Answers with what `describe(shard, id)` says of each group, or why it says nothing.
template <class Request, class Response, class Describe>
void describe_groups(Broker& broker, Request&& request, bool is_served, Describe describe,
                     Reply<Response> reply) {
  using Described = typename Response::DescribedGroup;
  if (!is_served) {
    Response response;
    for (const auto& id : request.group_ids) {
      response.groups.push_back({.error_code = ErrorCode::kUnsupportedVersion, .group_id = id});
    }
    return reply.send(response);
  }
  ask_owners(
      broker, std::move(request.group_ids),
      [&broker](const std::string& id) { return broker.group_owner(id); },
      [describe](Broker& owner, const std::string& id) {
        Described out;
        out.group_id = id;
        owner.with_own_group(id, [&](Result<GroupShard*> shard) {
          auto described =
              shard ? describe(**shard, id) : Result<Described>(std::unexpected(shard.error()));
          if (described) {
            out = std::move(*described);
          } else {
            out.error_code = described.error().code;
            out.error_message = described.error().why;
          }
        });
        return out;
      },
      [with_operations = request.include_authorized_operations,
       reply = std::move(reply)](std::vector<Described> groups) mutable {
        Response response;
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
