#pragma once
// A request that the active controller answers for a broker: it came in an Envelope, or from a
// client of this very node.
#include <functional>
#include <string>

#include "broker/node.h"

namespace klamm::broker {

// On the controller's shard. `done` gets the answer from its header on. NOT_CONTROLLER when this
// node is not active, or no longer is when the answer is there: to be asked elsewhere.
// INVALID_REQUEST for what brokers do not forward.
void answer_at_controller(Node& node, const protocol::Bytes& frame, const std::string& client_host,
                          const std::string& listener,
                          std::move_only_function<void(Result<protocol::Bytes>)> done);

}  // namespace klamm::broker
