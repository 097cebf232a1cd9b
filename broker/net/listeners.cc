#include "broker/net/listeners.h"

#include <spdlog/spdlog.h>

#include <asio/ip/v6_only.hpp>

namespace klamm::broker {

using asio::ip::tcp;

namespace {

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

Result<> Listeners::bind() {
  for (const auto* const list :
       {&broker_.config().listeners(), &broker_.config().controller_listeners()}) {
    for (const Endpoint& endpoint : *list) {
      TRY_VOID(bind(endpoint));
    }
  }
  return {};
}

Result<> Listeners::bind(const Endpoint& endpoint) {
  TRY(tcp::endpoint address, resolve(io(), endpoint));
  asio::error_code error;
  tcp::acceptor acceptor(io());
  acceptor.open(address.protocol(), error);
  if (error && endpoint.host.empty()) {  // a machine without IPv6
    address = tcp::endpoint(tcp::v4(), endpoint.port);
    acceptor.open(address.protocol(), error);
  }
  if (address.protocol() == tcp::v6()) {
    acceptor.set_option(asio::ip::v6_only(false), error);
  }
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  // Accepted sockets inherit it, and the window that it allows must be known when they connect.
  // Kafka's default would make large batches cost half as much again, so it must be asked for.
  constexpr const char* kRoom = "socket.receive.buffer.bytes";
  if (broker_.config().given().contains(kRoom) &&
      broker_.config().number(kRoom) != kSystemsChoice) {
    const auto room = static_cast<int>(broker_.config().number(kRoom));
    acceptor.set_option(asio::socket_base::receive_buffer_size(room), error);
  }
  acceptor.bind(address, error);
  if (!error) {
    acceptor.listen(static_cast<int>(broker_.config().number("socket.listen.backlog.size")), error);
  }
  if (error) {
    return fail(ErrorCode::kInvalidConfig,
                "listener " + endpoint.name + " cannot use port " + std::to_string(endpoint.port) +
                    ": " + error.message() +
                    ". Stop the other program or set listeners to another port.");
  }
  listeners_.push_back(std::make_unique<Listener>(Listener{std::move(acceptor), endpoint.name}));
  return {};
}

void Listeners::start() {
  for (const auto& listener : listeners_) {
    accept(*listener);
  }
}

void Listeners::stop() {
  asio::error_code ignored;
  for (const auto& listener : listeners_) {
    listener->acceptor.close(ignored);
  }
}

void Listeners::accept(Listener& listener) {
  Server& server = *servers_[next_++ % servers_.size()];
  listener.acceptor.async_accept(
      server.shard().io(),
      [this, &listener, &server](const asio::error_code& error, tcp::socket socket) {
        if (!listener.acceptor.is_open()) {
          return;
        }
        if (error) {
          // Out of descriptors: those who are connected go on, and we try again in a moment.
          spdlog::warn("cannot accept a connection: {}", error.message());
          broker_.timers().after(broker_.clock(), kAcceptRetryMs,
                                 [this, &listener] { accept(listener); });
          return;
        }
        if (server.shard().is_here()) {
          server.admit(std::move(socket), listener.name);
        } else {
          server.shard().post([&server, &listener, socket = std::move(socket)]() mutable {
            server.admit(std::move(socket), listener.name);
          });
        }
        accept(listener);
      });
}

}  // namespace klamm::broker
