#pragma once
// The port by which nodes call each other: requests of Kafka's protocol to an address, each
// answered once, or failed. One implementation has sockets, another has a simulated network.
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "protocol/base/reader.h"
#include "protocol/base/result.h"
#include "protocol/base/writer.h"

namespace klamm::replication {

struct Address {
  std::string host;
  uint16_t port = 0;
  auto operator<=>(const Address&) const = default;
  std::string to_string() const { return host + ":" + std::to_string(port); }
};

struct CallAnswer {
  protocol::Bytes body;  // behind the response header
  int16_t version = 0;   // that was spoken
};

// The newest version that both sides know is spoken.
struct Call {
  int16_t api_key = 0;
  int16_t version_min = 0;
  int16_t version_max = 0;
  std::function<void(protocol::Writer&, int16_t version)> encode;
  int64_t timeout_ms = 0;
  // NETWORK_EXCEPTION: the connection was refused or reset, which is evidence that the process is
  // gone. REQUEST_TIMED_OUT: no answer, which is none. UNSUPPORTED_VERSION: no common version.
  std::move_only_function<void(Result<CallAnswer>)> done;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // Calls to one address are sent in their order. `done` is never called from within `send`.
  virtual void send(const Address& to, Call call) = 0;
  // Keeps a connection there and tells, once, when the port refuses: the process is gone. Silence
  // is no evidence and is not told. Ends when what is returned goes.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): others keep it
  virtual std::shared_ptr<void> watch(const Address&, std::function<void()> /*gone*/) {
    return nullptr;
  }
};

// Nobody is there, and nothing is answered.
class NoTransport : public Transport {
 public:
  void send(const Address&, Call) override {}
};

template <class Response, class Request>
void call(Transport& transport, const Address& to, Request request, int64_t timeout_ms,
          std::move_only_function<void(Result<Response>)> done,
          int16_t version_min = Request::kVersionMin) {
  transport.send(
      to, {.api_key = Request::kKey,
           .version_min = version_min,
           .version_max = Request::kVersionMax,
           .encode = [request = std::move(request)](
                         protocol::Writer& out, int16_t version) { request.encode(out, version); },
           .timeout_ms = timeout_ms,
           .done =
               [done = std::move(done)](Result<CallAnswer> answer) mutable {
                 if (!answer) {
                   return done(std::unexpected(answer.error()));
                 }
                 protocol::Reader in(answer->body);
                 Response response;
                 response.decode(in, answer->version);
                 if (!in.ok()) {
                   return done(fail(ErrorCode::kCorruptMessage,
                                    std::string(Response::kName) + " cannot be read"));
                 }
                 done(std::move(response));
               }});
}

}  // namespace klamm::replication
