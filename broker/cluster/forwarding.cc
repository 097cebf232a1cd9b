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

class Forwarding : public std::enable_shared_from_this<Forwarding> {
 public:
  Forwarding(Node& node, Bytes frame, FrameOrigin origin, ReplyTicket ticket)
      : node_(node),
        frame_(std::move(frame)),
        origin_(std::move(origin)),
        ticket_(std::move(ticket)),
        deadline_ms_(broker().clock().monotonic_ms() + kGiveUpMs) {}

  void send() {
    if (node_.quorum().is_active()) {
      return answer_at_controller(
          node_, frame_, origin_.client_host, origin_.listener,
          [self = shared_from_this()](Result<Bytes> answer) {
            if (!answer && answer.error().code == ErrorCode::kNotController) {
              self->again();
            } else {
              self->finish(std::move(answer));
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
            self->finish(*answer->response_data);
          } else {
            self->again();
          }
        });
  }

 private:
  Broker& broker() { return node_.shard(kControllerShard); }
  void again() {
    if (broker().clock().monotonic_ms() >= deadline_ms_) {
      return at_sink([](ReplySink& sink) { sink.abandon(); });
    }
    broker().timers().after(broker().clock(), kRetryMs,
                            [self = shared_from_this()] { self->send(); });
  }
  void finish(const Result<Bytes>& response) {
    if (!response) {
      return at_sink([](ReplySink& sink) { sink.abandon(); });
    }
    Writer frame;
    frame.fixed(static_cast<int32_t>(response->size()));
    frame.raw(response->span());
    at_sink([slot = ticket_.slot, frame = std::move(frame)](ReplySink& sink) mutable {
      sink.complete(slot, std::move(frame));
    });
  }
  template <class Task>
  void at_sink(Task task) {
    ticket_.route->post([weak = ticket_.sink, task = std::move(task)]() mutable {
      if (const auto sink = weak.lock()) {
        task(*sink);
      }
    });
  }

  Node& node_;
  Bytes frame_;
  FrameOrigin origin_;
  ReplyTicket ticket_;
  int64_t deadline_ms_;
};

}  // namespace

void forward(Broker& broker, Bytes frame, FrameOrigin origin, ReplyTicket ticket) {
  broker.at_controller([frame = std::move(frame), origin = std::move(origin),
                        ticket = std::move(ticket)](Node& node) mutable {
    std::make_shared<Forwarding>(node, std::move(frame), std::move(origin), std::move(ticket))
        ->send();
  });
}

}  // namespace klamm::broker
