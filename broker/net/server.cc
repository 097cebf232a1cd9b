#include "broker/net/server.h"

#include <spdlog/spdlog.h>

#include <asio/ip/v6_only.hpp>

#include "broker/handlers/table.h"
#include "protocol/frame.h"

namespace klamm::broker {

using asio::ip::tcp;

namespace {

constexpr int64_t kSweepPeriodMs = 5'000;
constexpr int64_t kAcceptRetryMs = 100;

Result<tcp::endpoint> resolve(asio::io_context& io, const Endpoint& endpoint) {
  if (endpoint.host.empty()) {
    return tcp::endpoint(tcp::v6(), endpoint.port);
  }
  asio::error_code error;
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(endpoint.host, std::to_string(endpoint.port), error);
  if (error || found.empty()) {
    return fail(ErrorCode::kInvalidConfig,
                "cannot resolve the host of listener " + endpoint.name + ": " + endpoint.host);
  }
  return found.begin()->endpoint();
}

}  // namespace

Server::Server(Broker& broker, Shard& shard) : broker_(broker), shard_(shard) {}

Result<> Server::listen() {
  for (const Endpoint& endpoint : broker_.config().listeners()) {
    TRY(tcp::endpoint address, resolve(shard_.io(), endpoint));
    asio::error_code error;
    tcp::acceptor acceptor(shard_.io());
    acceptor.open(address.protocol(), error);
    if (error && endpoint.host.empty()) {  // a machine without IPv6
      address = tcp::endpoint(tcp::v4(), endpoint.port);
      acceptor.open(address.protocol(), error);
    }
    if (address.protocol() == tcp::v6()) {
      acceptor.set_option(asio::ip::v6_only(false), error);
    }
    acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    acceptor.bind(address, error);
    if (!error) {
      acceptor.listen(static_cast<int>(broker_.config().number("socket.listen.backlog.size")),
                      error);
    }
    if (error) {
      return fail(ErrorCode::kInvalidConfig,
                  "listener " + endpoint.name + " cannot use port " +
                      std::to_string(endpoint.port) + ": " + error.message() +
                      ". Stop the other program or set listeners to another port.");
    }
    listeners_.push_back(std::make_unique<Listener>(Listener{std::move(acceptor), endpoint.name}));
  }
  return {};
}

void Server::start() {
  for (const auto& listener : listeners_) {
    accept(*listener);
  }
  broker_.timers().at(shard_.clock().monotonic_ms() + kSweepPeriodMs, [this] { sweep_idle(); });
}

void Server::stop() {
  asio::error_code ignored;
  for (const auto& listener : listeners_) {
    listener->acceptor.close(ignored);
  }
  for (const auto& [raw, connection] : connections_) {
    if (const auto alive = connection.lock()) {
      alive->close();
    }
  }
}

void Server::accept(Listener& listener) {
  listener.acceptor.async_accept(
      [this, &listener](const asio::error_code& error, tcp::socket socket) {
        if (!listener.acceptor.is_open()) {
          return;
        }
        if (!error) {
          admit(std::move(socket), listener.name);
          return accept(listener);
        }
        // Out of descriptors: those who are connected go on, and we try again in a moment.
        spdlog::warn("cannot accept a connection: {}", error.message());
        broker_.timers().at(shard_.clock().monotonic_ms() + kAcceptRetryMs,
                            [this, &listener] { accept(listener); });
      });
}

void Server::admit(tcp::socket socket, const std::string& listener) {
  const auto limit = static_cast<size_t>(broker_.config().number("max.connections"));
  if (connections_.size() >= limit) {
    std::erase_if(connections_, [](const auto& entry) { return entry.second.expired(); });
    if (connections_.size() >= limit) {
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

bool Server::handle(Connection& connection, const protocol::Bytes& frame, uint64_t slot) {
  protocol::Reader in(frame);
  const auto header = protocol::decode_request_header(in);
  if (!header) {
    spdlog::debug("{} sent a request that cannot be read ({}); closing its connection",
                  connection.client_host(), header.error().why);
    return false;
  }
  const HandlerRow* row = find_handler(header->api_key);
  if (row == nullptr) {
    spdlog::debug("{} asked for API {}, which is not served; closing its connection",
                  connection.client_host(), header->api_key);
    return false;
  }
  RequestContext context{broker_, header->version, header->client_id.value_or(""),
                         connection.client_host(), connection.listener_name()};
  const bool flexible = protocol::response_header_is_flexible(header->api_key, header->version);
  ReplyTicket ticket{connection.weak_from_this(), slot, header->correlation_id, header->version,
                     flexible};
  return row->invoke(context, in, std::move(ticket));
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
