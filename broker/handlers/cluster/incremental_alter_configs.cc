// IncrementalAlterConfigs (key 44), v0-1 (KIP-339): keys are set, removed, or as lists appended to
// and subtracted from.
#include "broker/handlers/cluster/change_configs.h"
#include "protocol/generated/incremental_alter_configs_response.h"

namespace klamm::broker {

void handle(RequestContext& context, protocol::IncrementalAlterConfigsRequest&& request,
            Reply<protocol::IncrementalAlterConfigsResponse> reply) {
  change_configs(context, std::move(request), std::move(reply));
}

}  // namespace klamm::broker
