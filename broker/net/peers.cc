#include "broker/net/peers.h"

#include <asio/connect.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>

#include "broker/cluster/request_frame.h"
#include "protocol/generated/api_versions_request.h"
#include "protocol/generated/api_versions_response.h"
#include "protocol/generated/fetch_request.h"

namespace klamm::broker {

using asio::ip::tcp;
using namespace protocol;
using replication::Address;
using replication::Call;
using replication::CallAnswer;

namespace {

constexpr int32_t kFrameMax = 1 << 30;
constexpr int32_t kVersionsId = 0;

// A connection that is only there to be lost.
class PeerWatch : public std::enable_shared_from_this<PeerWatch> {
 public:
  PeerWatch(Shard& shard, Timers& timers, Address to, std::function<void()> gone)
      : shard_(shard),
        timers_(timers),
        to_(std::move(to)),
        gone_(std::move(gone)),
        socket_(shard.io()),
        resolver_(shard.io()) {}

  void connect() {
    resolver_.async_resolve(to_.host, std::to_string(to_.port),
                            [weak = weak_from_this()](const asio::error_code& error,
                                                      const tcp::resolver::results_type& found) {
                              const auto self = weak.lock();
                              if (self == nullptr) {
                                return;
                              }
                              if (error) {
                                return self->again();
                              }
                              asio::async_connect(
                                  self->socket_, found,
                                  [weak](const asio::error_code& refused, const tcp::endpoint&) {
                                    if (const auto alive = weak.lock()) {
                                      alive->on_connected(refused);
                                    }
                                  });
                            });
  }

 private:
  void on_connected(const asio::error_code& error) {
    if (error == asio::error::connection_refused) {
      // Moved out: it may end this watch.
      const auto gone = std::move(gone_);
      return gone();
    }
    if (error) {
      return again();
    }
    socket_.async_read_some(asio::buffer(nothing_),
                            [weak = weak_from_this()](const asio::error_code&, size_t) {
                              if (const auto self = weak.lock()) {
                                asio::error_code ignored;
                                self->socket_.close(ignored);
                                self->connect();
                              }
                            });
  }
  void again() {
    constexpr int64_t kRetryMs = 500;
    asio::error_code ignored;
    socket_.close(ignored);
    timers_.after(shard_.clock(), kRetryMs, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->connect();
      }
    });
  }

  Shard& shard_;
  Timers& timers_;
  Address to_;
  std::function<void()> gone_;
  tcp::socket socket_;
  tcp::resolver resolver_;
  char nothing_[1] = {};
};

}  // namespace

PeerConnection::PeerConnection(Peers& peers, Shard& shard, Address to)
    : peers_(peers),
      shard_(shard),
      to_(std::move(to)),
      socket_(shard.io()),
      resolver_(shard.io()) {}

void PeerConnection::send(Call call) {
  const int32_t id = next_id_++;
  const auto timer =
      peers_.timers().after(shard_.clock(), call.timeout_ms, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) {
          self->close(ErrorCode::kRequestTimedOut,
                      "no answer in time from " + self->to_.to_string());
        }
      });
  calls_.emplace(id, Open{std::move(call), 0, timer});
  unsent_.push_back(id);
  if (id == 1) {
    connect();
  } else if (ready_) {
    transmit(id);
  }
}

void PeerConnection::connect() {
  resolver_.async_resolve(
      to_.host, std::to_string(to_.port),
      [self = shared_from_this()](const asio::error_code& error,
                                  const tcp::resolver::results_type& found) {
        if (self->closed_) {
          return;
        }
        if (error) {
          return self->close(ErrorCode::kNetworkException, "cannot resolve " + self->to_.host);
        }
        asio::async_connect(
            self->socket_, found, [self](const asio::error_code& refused, const tcp::endpoint&) {
              if (self->closed_) {
                return;
              }
              if (refused) {
                return self->close(
                    ErrorCode::kNetworkException,
                    "cannot connect to " + self->to_.to_string() + ": " + refused.message());
              }
              asio::error_code ignored;
              self->socket_.set_option(tcp::no_delay(true), ignored);
              self->negotiate();
            });
      });
}

void PeerConnection::negotiate() {
  write(request_frame(ApiVersionsRequest::kKey, 0, kVersionsId, [](Writer&, int16_t) {}).flatten());
  read_length();
}

void PeerConnection::on_versions(const Bytes& body) {
  Reader in(body);
  ApiVersionsResponse response;
  response.decode(in, 0);
  if (!in.ok()) {
    return close(ErrorCode::kNetworkException, to_.to_string() + " speaks another protocol");
  }
  for (const auto& api : response.api_keys) {
    versions_[api.api_key] = {api.min_version, api.max_version};
  }
  ready_ = true;
  for (const int32_t id : std::exchange(unsent_, {})) {
    transmit(id);
  }
}

void PeerConnection::transmit(int32_t id) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) {
    return;
  }
  Open& open = found->second;
  const Call& call = open.call;
  const auto theirs = versions_.find(call.api_key);
  const int16_t version =
      theirs == versions_.end() ? -1 : std::min(call.version_max, theirs->second.second);
  if (theirs == versions_.end() || version < std::max(call.version_min, theirs->second.first)) {
    return finish(found, fail(ErrorCode::kUnsupportedVersion,
                              to_.to_string() + " does not serve " +
                                  std::string(find_api(call.api_key)->name) + " as needed"));
  }
  open.version = version;
  Writer out = request_frame(call.api_key, version, id, call.encode);
  if (out.refused() != nullptr) {
    return finish(found,
                  fail(ErrorCode::kUnsupportedVersion,
                       std::string(out.refused()) + " cannot be said to " + to_.to_string()));
  }
  write(out.flatten());
}

void PeerConnection::write(Bytes frame) {
  out_.push_back(std::move(frame));
  if (!writing_) {
    write_next();
  }
}

void PeerConnection::write_next() {
  writing_ = !out_.empty();
  if (!writing_) {
    return;
  }
  const Bytes& next = out_.front();
  asio::async_write(socket_, asio::buffer(next.data(), next.size()),
                    [self = shared_from_this()](const asio::error_code& error, size_t) {
                      if (self->closed_) {
                        return;
                      }
                      if (error) {
                        return self->close(ErrorCode::kNetworkException,
                                           self->to_.to_string() + ": " + error.message());
                      }
                      self->out_.pop_front();
                      self->write_next();
                    });
}

void PeerConnection::read_length() {
  asio::async_read(socket_, asio::buffer(length_),
                   [self = shared_from_this()](const asio::error_code& error, size_t) {
                     if (self->closed_) {
                       return;
                     }
                     const auto size = load<int32_t>(self->length_);
                     if (error || size < 4 || size > kFrameMax) {
                       return self->close(
                           ErrorCode::kNetworkException,
                           "the connection to " + self->to_.to_string() + " was closed");
                     }
                     self->read_body(size);
                   });
}

void PeerConnection::read_body(int32_t size) {
  const auto frame = std::make_shared<Bytes>(Bytes::allocate(static_cast<size_t>(size)));
  asio::async_read(socket_, asio::buffer(frame->mutable_data(), frame->size()),
                   [self = shared_from_this(), frame](const asio::error_code& error, size_t) {
                     if (self->closed_) {
                       return;
                     }
                     if (error) {
                       return self->close(
                           ErrorCode::kNetworkException,
                           "the connection to " + self->to_.to_string() + " was closed");
                     }
                     self->on_frame(*frame);
                     if (!self->closed_) {
                       self->read_length();
                     }
                   });
}

void PeerConnection::on_frame(const Bytes& frame) {
  Reader in(frame);
  const auto id = in.fixed<int32_t>();
  if (id == kVersionsId && !ready_) {
    return on_versions(frame.slice(4, frame.size() - 4));
  }
  const auto found = calls_.find(id);
  if (found == calls_.end()) {
    return close(ErrorCode::kNetworkException, to_.to_string() + " answered what nobody asked");
  }
  const size_t header =
      response_header_size(frame, found->second.call.api_key, found->second.version);
  if (header == 0) {
    return close(ErrorCode::kNetworkException, to_.to_string() + " sent a header without end");
  }
  finish(found, CallAnswer{frame.slice(header, frame.size() - header), found->second.version});
}

void PeerConnection::finish(Calls::iterator call, Result<CallAnswer> answer) {
  Open open = std::move(call->second);
  calls_.erase(call);
  peers_.timers().cancel(open.timer);
  open.call.done(std::move(answer));
}

void PeerConnection::close(ErrorCode why, const std::string& reason) {
  if (std::exchange(closed_, true)) {
    return;
  }
  const auto keep = shared_from_this();
  asio::error_code ignored;
  socket_.close(ignored);
  resolver_.cancel();
  peers_.forget(*this);
  for (auto& [id, open] : std::exchange(calls_, {})) {
    peers_.timers().cancel(open.timer);
    open.call.done(fail(why, reason));
  }
}

void Peers::attach(Shard& shard, Timers& timers) {
  shard_ = &shard;
  timers_ = &timers;
  for (auto& [to, call] : std::exchange(early_, {})) {
    send(to, std::move(call));
  }
}

void Peers::detach() {
  shard_ = nullptr;
  connections_.clear();
}

void Peers::send(const Address& to, Call call) {
  if (shard_ == nullptr) {
    early_.emplace_back(to, std::move(call));
    return;
  }
  auto& connection = connections_[{to, call.api_key == FetchRequest::kKey}];
  if (connection == nullptr) {
    connection = std::make_shared<PeerConnection>(*this, *shard_, to);
  }
  const auto keep = connection;
  keep->send(std::move(call));
}

std::shared_ptr<void> Peers::watch(const Address& to, std::function<void()> gone) {
  if (shard_ == nullptr) {
    return nullptr;
  }
  const auto watch = std::make_shared<PeerWatch>(*shard_, *timers_, to, std::move(gone));
  watch->connect();
  return watch;
}

void Peers::forget(const PeerConnection& connection) {
  std::erase_if(connections_, [&](const auto& entry) { return entry.second.get() == &connection; });
}

}  // namespace klamm::broker
