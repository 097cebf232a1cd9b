#include "broker/cluster/forwarding.h"

#include <charconv>

#include "broker/cluster/controller_channel.h"
#include "broker/cluster/inner_request.h"
#include "protocol/generated/default_principal_data.h"
#include "protocol/generated/envelope_request.h"
#include "protocol/generated/envelope_response.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int64_t kRetryMs = 50;
constexpr int64_t kGiveUpMs = 30'000;

Bytes anonymous() {
  DefaultPrincipalData principal;
  principal.type = "User";
  principal.name = "ANONYMOUS";
  Writer out;
  out.fixed<int16_t>(0);
  principal.encode(out, 0);
  return out.flatten();
}

// "/127.0.0.1" as the four bytes of the address; the loopback address for anything else.
Bytes address_bytes(const std::string& host) {
  uint8_t bytes[4] = {127, 0, 0, 1};
  const char* at = host.data() + (host.starts_with('/') ? 1 : 0);
  const char* const end = host.data() + host.size();
  uint8_t parsed[4];
  for (int i = 0; i < 4; ++i) {
    const auto [next, error] = std::from_chars(at, end, parsed[i]);
    if (error != std::errc() || (i < 3 ? next == end || *next != '.' : next != end)) {
      return Bytes::copy_of({bytes, 4});
    }
    at = next + 1;
  }
  return Bytes::copy_of({parsed, 4});
}

class Forward : public std::enable_shared_from_this<Forward> {
 public:
  using Done = std::move_only_function<void(Result<Bytes>)>;
  Forward(Node& node, Bytes frame, FrameOrigin origin, Done done)
      : node_(node),
        frame_(std::move(frame)),
        origin_(std::move(origin)),
        done_(std::move(done)),
        deadline_ms_(broker().clock().monotonic_ms() + kGiveUpMs) {}

  void send() {
    if (node_.quorum().is_active()) {
      return answer_at_controller(
          node_, frame_, origin_.client_host, origin_.listener,
          [self = shared_from_this()](Result<Bytes> answer) {
            if (!answer && answer.error().code == ErrorCode::kNotController) {
              self->again();
            } else {
              self->done_(std::move(answer));
            }
          });
    }
    EnvelopeRequest request;
    request.request_data = frame_;
    request.request_principal = anonymous();
    request.client_host_address = address_bytes(origin_.client_host);
    node_.channel().ask_remote<EnvelopeResponse>(
        std::move(request), [self = shared_from_this()](Result<EnvelopeResponse> answer) {
          if (answer && answer->error_code == ErrorCode::kNone && answer->response_data) {
            self->done_(std::move(*answer->response_data));
          } else {
            self->again();
          }
        });
  }

 private:
  Broker& broker() { return node_.shard(kControllerShard); }
  void again() {
    if (broker().clock().monotonic_ms() >= deadline_ms_) {
      return done_(fail(ErrorCode::kRequestTimedOut, "there is no active controller"));
    }
    broker().timers().after(broker().clock(), kRetryMs,
                            [self = shared_from_this()] { self->send(); });
  }

  Node& node_;
  Bytes frame_;
  FrameOrigin origin_;
  Done done_;
  int64_t deadline_ms_;
};

void finish(const ReplyTicket& ticket, const Result<Bytes>& response) {
  Writer frame;
  if (response) {
    frame.fixed(static_cast<int32_t>(response->size()));
    frame.raw(response->span());
  }
  ticket.route->post([weak = ticket.sink, slot = ticket.slot, answered = response.has_value(),
                      frame = std::move(frame)]() mutable {
    if (const auto sink = weak.lock()) {
      answered ? sink->complete(slot, std::move(frame)) : sink->abandon();
    }
  });
}

}  // namespace

void forward(Broker& broker, Bytes frame, FrameOrigin origin,
             std::move_only_function<void(Result<Bytes>)> done) {
  broker.at_controller([frame = std::move(frame), origin = std::move(origin),
                        done = std::move(done)](Node& node) mutable {
    std::make_shared<Forward>(node, std::move(frame), std::move(origin), std::move(done))->send();
  });
}

void forward(Broker& broker, Bytes frame, FrameOrigin origin, ReplyTicket ticket) {
  forward(broker, std::move(frame), std::move(origin),
          [ticket = std::move(ticket)](const Result<Bytes>& answer) { finish(ticket, answer); });
}

}  // namespace klamm::broker
