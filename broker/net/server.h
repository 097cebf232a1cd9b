#pragma once
// The listeners of a broker: accepts connections, turns frames into handler calls, drops idle and
// excess connections.
#include <asio/ip/tcp.hpp>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/broker.h"
#include "broker/net/connection.h"
#include "broker/net/shard.h"

namespace klamm::broker {

class Server {
 public:
  Server(Broker& broker, Shard& shard);

  // Binds every listener of the broker role. INVALID_CONFIG names the address and what to do when
  // that fails.
  Result<> listen();
  // From here on connections are accepted.
  void start();
  void stop();

 private:
  struct Listener {
    asio::ip::tcp::acceptor acceptor;
    std::string name;
  };
  void accept(Listener& listener);
  void admit(asio::ip::tcp::socket socket, const std::string& listener);
  bool handle(Connection& connection, const protocol::Bytes& frame, uint64_t slot);
  void sweep_idle();

  Broker& broker_;
  Shard& shard_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<Connection*, std::weak_ptr<Connection>> connections_;
};

}  // namespace klamm::broker
