#pragma once
// The listeners of the node's roles: one thread accepts and deals the connections out to the shards
// in turn.
#include <asio/ip/tcp.hpp>
#include <memory>
#include <string>
#include <vector>

#include "broker/net/server.h"

namespace klamm::broker {

class Listeners {
 public:
  // Accepts on the first server's shard.
  Listeners(Broker& broker, std::vector<std::unique_ptr<Server>>& servers)
      : broker_(broker), servers_(servers) {}

  // Binds every listener. INVALID_CONFIG names the address and what to do when that fails.
  Result<> bind();
  // From here on connections are accepted.
  void start();
  void stop();

 private:
  struct Listener {
    asio::ip::tcp::acceptor acceptor;
    std::string name;
  };
  asio::io_context& io() { return servers_.front()->shard().io(); }
  Result<> bind(const Endpoint& endpoint);
  void accept(Listener& listener);

  Broker& broker_;
  std::vector<std::unique_ptr<Server>>& servers_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  size_t next_ = 0;
};

}  // namespace klamm::broker
