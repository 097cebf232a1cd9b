#pragma once
// Connections to other nodes, as the transport of one shard. Each address has one connection for
// what is answered soon and one for fetches, which may wait there. A connection is made when it is
// needed, asks for the other's versions first, and is closed when an answer is overdue.
#include <asio/ip/tcp.hpp>
#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "broker/net/shard.h"
#include "replication/transport.h"

namespace klamm::broker {

class Peers;

class PeerConnection : public std::enable_shared_from_this<PeerConnection> {
 public:
  PeerConnection(Peers& peers, Shard& shard, replication::Address to);
  void send(replication::Call call);
  // Fails everything that is open with this error.
  void close(ErrorCode why, const std::string& reason);

 private:
  struct Open {
    replication::Call call;
    int16_t version = 0;
    Timers::Id timer;
  };
  using Calls = std::map<int32_t, Open>;

  void connect();
  void negotiate();
  void on_versions(const protocol::Bytes& body);
  void transmit(int32_t id);
  void write(protocol::Bytes frame);
  void write_next();
  void read_length();
  void read_body(int32_t size);
  void on_frame(const protocol::Bytes& frame);
  void finish(Calls::iterator call, Result<replication::CallAnswer> answer);

  Peers& peers_;
  Shard& shard_;
  replication::Address to_;
  asio::ip::tcp::socket socket_;
  asio::ip::tcp::resolver resolver_;
  bool ready_ = false;
  bool closed_ = false;
  std::map<int16_t, std::pair<int16_t, int16_t>> versions_;  // that the other serves
  int32_t next_id_ = 1;                                      // 0: the question for versions
  Calls calls_;
  std::deque<int32_t> unsent_;
  std::deque<protocol::Bytes> out_;
  bool writing_ = false;
  uint8_t length_[4] = {};
};

class Peers : public replication::Transport {
 public:
  // Calls made before that wait.
  void attach(Shard& shard, Timers& timers);
  // Before the shard goes.
  void detach();
  void send(const replication::Address& to, replication::Call call) override;
  std::shared_ptr<void> watch(const replication::Address& to, std::function<void()> gone) override;

  Timers& timers() { return *timers_; }
  // The connection is closed; the next call makes another one.
  void forget(const PeerConnection& connection);

 private:
  using Key = std::pair<replication::Address, bool>;  // where to, and whether for fetches
  Shard* shard_ = nullptr;
  Timers* timers_ = nullptr;
  std::map<Key, std::shared_ptr<PeerConnection>> connections_;
  std::vector<std::pair<replication::Address, replication::Call>> early_;
};

}  // namespace klamm::broker
