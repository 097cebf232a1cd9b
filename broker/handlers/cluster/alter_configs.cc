// AlterConfigs (key 33), v0-2: a resource's configuration as a whole; what is not named goes.
#include "broker/handlers/cluster/change_configs.h"
#include "protocol/generated/alter_configs_response.h"

namespace klamm::broker {

void handle(RequestContext& context, protocol::AlterConfigsRequest&& request,
            Reply<protocol::AlterConfigsResponse> reply) {
  change_configs(context, std::move(request), std::move(reply));
}

}  // namespace klamm::broker
