#pragma once
// What a handler knows besides its request.
#include <cstdint>
#include <string>

#include "broker/broker.h"

namespace klamm::broker {

struct RequestContext {
  Broker& broker;  // of the shard that the request came to
  int16_t version = 0;
  std::string client_id;
  std::string client_host;  // "/127.0.0.1", as the protocol's answers show it
  std::string listener_name;
  bool at_controller = false;  // the active controller is asked, or a broker for it
};

}  // namespace klamm::broker
