#pragma once
// What a handler knows besides its request.
#include <cstdint>
#include <string>

namespace klamm::broker {

class Broker;

struct RequestContext {
  Broker& broker;
  int16_t version = 0;
  std::string client_id;
  const std::string& client_host;  // "/127.0.0.1", as the protocol's answers show it
  const std::string& listener_name;
};

}  // namespace klamm::broker
