// StreamsGroupTopologyDescriptionUpdate (key 93), v0.   Answers at once; never parked. Apache Kafka
// hands descriptions to a plugin, and refuses them when it has none.
#include "broker/handlers/handlers.h"
#include "protocol/generated/streams_group_topology_description_update_request.h"
#include "protocol/generated/streams_group_topology_description_update_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext&, StreamsGroupTopologyDescriptionUpdateRequest&&,
            Reply<StreamsGroupTopologyDescriptionUpdateResponse> reply) {
  reply.send(
      {.error_code = ErrorCode::kUnsupportedVersion,
       .error_message = "The broker has no streams group topology description plugin configured."});
}

}  // namespace klamm::broker
