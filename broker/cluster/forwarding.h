#pragma once
// Hands a client's request on to the active controller, in an Envelope (KIP-590) where that is
// another node, and its answer back.
#include <functional>
#include <string>

#include "broker/handlers/reply.h"
#include "broker/node.h"

namespace klamm::broker {

// Whence a request came.
struct FrameOrigin {
  std::string client_host;
  std::string listener;
};

// `frame`: the request with its header; `done` gets the answer from its header on, on the
// controller's shard. Tries again while there is no controller; REQUEST_TIMED_OUT when that takes
// too long. Called on any shard.
void forward(Broker& broker, protocol::Bytes frame, FrameOrigin origin,
             std::move_only_function<void(Result<protocol::Bytes>)> done);

// The same for a frame that a client waits for. Tries again while there is no controller; the
// client's connection is closed when that takes too long. Called on any shard.
void forward(Broker& broker, protocol::Bytes frame, FrameOrigin origin, ReplyTicket ticket);

}  // namespace klamm::broker
