#pragma once
// Hands a client's request on to the active controller in an Envelope (KIP-590), and its answer
// back.
#include <string>

#include "broker/handlers/reply.h"
#include "broker/node.h"

namespace klamm::broker {

// `frame`: the request with its header. Tries again while there is no controller; the client's
// connection is closed when that takes too long. Called on any shard.
void forward(Broker& broker, protocol::Bytes frame, std::string client_host, ReplyTicket ticket);

}  // namespace klamm::broker
