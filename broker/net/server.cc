#include "broker/net/server.h"

namespace klamm::broker {

using asio::ip::tcp;

namespace {

constexpr int64_t kSweepPeriodMs = 5'000;

}  // namespace

void Server::start() {
  broker_.timers().after(shard_.clock(), kSweepPeriodMs, [this] { sweep_idle(); });
}

void Server::stop() {
  for (const auto& [raw, connection] : connections_) {
    if (const auto alive = connection.lock()) {
      alive->close();
    }
  }
}

void Server::admit(tcp::socket socket, const std::string& listener) {
  if (connections_.size() >= connections_max_) {
    std::erase_if(connections_, [](const auto& entry) { return entry.second.expired(); });
    if (connections_.size() >= connections_max_) {
      return;  // the socket closes
    }
  }
  const auto number = [this](const char* key) {
    return static_cast<int32_t>(broker_.config().number(key));
  };
  ConnectionLimits limits{.frame_max = number("socket.request.max.bytes")};
  if (broker_.config().given().contains("socket.send.buffer.bytes")) {
    limits.send_buffer = number("socket.send.buffer.bytes");
  }
  const auto connection =
      std::make_shared<Connection>(std::move(socket), shard_, listener, limits,
                                   [this](Connection& from, const protocol::Bytes& frame,
                                          uint64_t slot) { return handle(from, frame, slot); });
  connections_[connection.get()] = connection;
  connection->start();
}

FrameFate Server::handle(Connection& connection, const protocol::Bytes& frame, uint64_t slot) {
  return dispatch(broker_, frame,
                  {connection.listener_name(), connection.client_host(),
                   connection.weak_from_this(), &shard_, slot});
}

void Server::sweep_idle() {
  const int64_t now = shard_.clock().monotonic_ms();
  const int64_t idle_max = broker_.config().number("connections.max.idle.ms");
  std::erase_if(connections_, [&](const auto& entry) {
    const auto connection = entry.second.lock();
    if (connection != nullptr && !connection->has_open_requests() && idle_max >= 0 &&
        now - connection->last_active_ms() > idle_max) {
      connection->close();
    }
    return connection == nullptr || !connection->is_open();
  });
  broker_.timers().at(now + kSweepPeriodMs, [this] { sweep_idle(); });
}

}  // namespace klamm::broker
