// DeleteGroups (key 42), v0-3.   v3: error messages.   Answered when the tombstones of all groups
// are committed.
#include "broker/broker.h"
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/delete_groups_request.h"
#include "protocol/generated/delete_groups_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, DeleteGroupsRequest&& request,
            Reply<DeleteGroupsResponse> reply) {
  struct Open {
    Reply<DeleteGroupsResponse> reply;
    DeleteGroupsResponse response;
    size_t left;
  };
  auto open = std::make_shared<Open>(std::move(reply), DeleteGroupsResponse{},
                                     request.groups_names.size() + 1);
  const auto finish_one = [open] {
    if (--open->left == 0) {
      open->reply.send(open->response);
    }
  };
  for (const std::string& id : request.groups_names) {
    open->response.results.push_back({.group_id = id});
  }
  for (size_t i = 0; i < request.groups_names.size(); ++i) {
    const std::string& id = request.groups_names[i];
    const auto finish = [open, finish_one, i](ErrorCode error) {
      open->response.results[i].error_code = error;
      if (error != ErrorCode::kNone) {
        open->response.results[i].error_message = std::string(name_of(error));
      }
      finish_one();
    };
    context.broker.with_group(
        id, [id, finish, home = context.broker.shard()](Result<GroupShard*> shard, Broker& owner) {
          const auto at_home = [&owner, home, finish](ErrorCode error) {
            owner.at(home, [finish, error](Broker&) { finish(error); });
          };
          shard ? (*shard)->remove_group(id, at_home) : at_home(shard.error().code);
        });
  }
  finish_one();
}

}  // namespace klamm::broker
