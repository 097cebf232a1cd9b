#pragma once
// The connections of one shard: turns frames into handler calls, drops idle and excess ones.
#include <asio/ip/tcp.hpp>
#include <memory>
#include <string>
#include <unordered_map>

#include "broker/broker.h"
#include "broker/net/connection.h"
#include "broker/net/shard.h"

namespace klamm::broker {

class Server {
 public:
  // `connections_max` is this shard's share of max.connections.
  Server(Broker& broker, Shard& shard, size_t connections_max)
      : broker_(broker), shard_(shard), connections_max_(connections_max) {}

  Shard& shard() { return shard_; }
  void start();
  void stop();
  // Serves a client that came in by the listener.
  void admit(asio::ip::tcp::socket socket, const std::string& listener);

 private:
  FrameFate handle(Connection& connection, const protocol::Bytes& frame, uint64_t slot);
  void sweep_idle();

  Broker& broker_;
  Shard& shard_;
  size_t connections_max_;
  std::unordered_map<Connection*, std::weak_ptr<Connection>> connections_;
};

}  // namespace klamm::broker
