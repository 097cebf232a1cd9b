// Envelope (key 58), v0: a broker hands on a client's request to the active controller, with who
// the client is (KIP-590). Only requests that brokers forward may be inside.
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/handlers/table.h"
#include "broker/node.h"
#include "protocol/frame.h"
#include "protocol/generated/envelope_request.h"
#include "protocol/generated/envelope_response.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

using namespace protocol;

namespace {

// Stands where the client's connection would be; lives until the inner request is answered.
class Inside : public ReplySink, public ReplyRoute, public std::enable_shared_from_this<Inside> {
 public:
  Inside(Broker& broker, Reply<EnvelopeResponse> reply)
      : broker_(broker), reply_(std::move(reply)) {}

  void invoke(const HandlerRow& row, RequestContext& context, const FrameHeader& header,
              Reader& in) {
    self_ = shared_from_this();
    const bool flexible = response_header_is_flexible(header.api_key, header.version);
    if (!row.invoke(context, in,
                    {weak_from_this(), this, 0, header.correlation_id, header.version, flexible})) {
      finish({.error_code = ErrorCode::kInvalidRequest});
    }
  }
  void complete(uint64_t, Writer frame) override {
    const Bytes bytes = frame.flatten();
    finish({.response_data = bytes.slice(4, bytes.size() - 4)});
  }
  void complete_without_answer(uint64_t) override {
    finish({.error_code = ErrorCode::kUnknownServerError});
  }
  void abandon() override { finish({.error_code = ErrorCode::kUnknownServerError}); }
  bool is_here() const override { return broker_.shard() == kControllerShard; }
  void post(std::move_only_function<void()> task) override {
    broker_.at(broker_.shard(), [task = std::move(task)](Broker&) mutable { task(); });
  }

 private:
  void finish(const EnvelopeResponse& response) {
    const auto keep = std::move(self_);
    if (!std::exchange(finished_, true)) {
      reply_.send(response);
    }
  }

  Broker& broker_;
  Reply<EnvelopeResponse> reply_;
  bool finished_ = false;
  std::shared_ptr<Inside> self_;
};

}  // namespace

void handle(RequestContext& context, EnvelopeRequest&& request, Reply<EnvelopeResponse> reply) {
  context.broker.at_controller([request = std::move(request), listener = context.listener_name,
                                reply = std::move(reply)](Node& node) mutable {
    if (!node.quorum().is_active()) {
      return reply.send({.error_code = ErrorCode::kNotController});
    }
    Reader in(request.request_data);
    const auto header = decode_request_header(in);
    const HandlerRow* const row = header ? find_handler(header->api_key) : nullptr;
    if (row == nullptr || !row->is_forwarded) {
      return reply.send({.error_code = header ? ErrorCode::kInvalidRequest : header.error().code});
    }
    Broker& here = node.shard(kControllerShard);
    RequestContext inside{here, header->version, header->client_id.value_or(""), "", listener};
    std::make_shared<Inside>(here, std::move(reply))->invoke(*row, inside, *header, in);
    node.raft_driver().arm();
  });
}

}  // namespace klamm::broker
