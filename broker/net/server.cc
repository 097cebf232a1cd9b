#include "broker/net/server.h"

#include <spdlog/spdlog.h>

#include "broker/cluster/forwarding.h"
#include "broker/handlers/table.h"
#include "protocol/frame.h"

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
  const ConnectionLimits limits{
      static_cast<int32_t>(broker_.config().number("socket.request.max.bytes"))};
  const auto connection =
      std::make_shared<Connection>(std::move(socket), shard_, listener, limits,
                                   [this](Connection& from, const protocol::Bytes& frame,
                                          uint64_t slot) { return handle(from, frame, slot); });
  connections_[connection.get()] = connection;
  connection->start();
}

FrameFate Server::handle(Connection& connection, const protocol::Bytes& frame, uint64_t slot) {
  protocol::Reader in(frame);
  const auto header = protocol::decode_request_header(in);
  if (!header) {
    spdlog::debug("{} sent a request that cannot be read ({}); closing its connection",
                  connection.client_host(), header.error().why);
    return FrameFate::kClose;
  }
  const HandlerRow* row = find_handler(header->api_key);
  const bool at_controller = broker_.config().is_controller_listener(connection.listener_name());
  if (row == nullptr || !is_served(*row, at_controller)) {
    spdlog::debug("{} asked for API {}, which is not served; closing its connection",
                  connection.client_host(), header->api_key);
    return FrameFate::kClose;
  }
  RequestContext context{broker_, header->version, header->client_id.value_or(""),
                         connection.client_host(), connection.listener_name()};
  const bool flexible = protocol::response_header_is_flexible(header->api_key, header->version);
  ReplyTicket ticket{connection.weak_from_this(), &shard_,         slot,
                     header->correlation_id,      header->version, flexible};
  if (row->is_forwarded && !at_controller && !broker_.node().is_active_controller()) {
    forward(broker_, frame, connection.client_host(), std::move(ticket));
    return FrameFate::kHold;
  }
  if (!row->invoke(context, in, std::move(ticket))) {
    return FrameFate::kClose;
  }
  return row->changes_metadata ? FrameFate::kHold : FrameFate::kGoOn;
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
