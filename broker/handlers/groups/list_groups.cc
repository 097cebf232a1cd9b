// ListGroups (key 16), v0-5.   v4: filter by state.   v5: filter by type.   Answers at once; never
// parked.
#include <algorithm>

#include "broker/ask_owners.h"
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/list_groups_request.h"
#include "protocol/generated/list_groups_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

bool same_word(const std::string& a, const std::string& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

bool passes(const std::vector<std::string>& filter, const std::string& value) {
  return filter.empty() || std::any_of(filter.begin(), filter.end(), [&](const auto& wanted) {
           return same_word(wanted, value);
         });
}

}  // namespace

void handle(RequestContext& context, ListGroupsRequest&& request, Reply<ListGroupsResponse> reply) {
  ask_owners(
      context.broker, context.broker.all_shards(), [](size_t shard) { return shard; },
      [](Broker& broker, size_t) {
        ListGroupsResponse of_shard;
        broker.groups().for_each([&](const GroupShard& shard) { shard.list(of_shard.groups); });
        return of_shard.groups;
      },
      [request = std::move(request), reply = std::move(reply)](auto lists) mutable {
        ListGroupsResponse response;
        for (auto& groups : lists) {
          for (auto& group : groups) {
            if (passes(request.states_filter, group.group_state) &&
                passes(request.types_filter, group.group_type)) {
              response.groups.push_back(std::move(group));
            }
          }
        }
        reply.send(response);
      });
}

}  // namespace klamm::broker
