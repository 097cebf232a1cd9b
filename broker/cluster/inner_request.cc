#include "broker/cluster/inner_request.h"

#include "broker/cluster/controller_channel.h"
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/reply.h"
#include "broker/handlers/request_context.h"
#include "broker/handlers/table.h"
#include "protocol/frame.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

using namespace protocol;

namespace {

// Stands where the client's connection would be; lives until the request is answered.
class Inside : public ReplySink, public ReplyRoute, public std::enable_shared_from_this<Inside> {
 public:
  using Done = std::move_only_function<void(Result<Bytes>)>;
  Inside(Node& node, Done done) : node_(node), done_(std::move(done)) {}

  void invoke(const HandlerRow& row, RequestContext& context, const FrameHeader& header,
              Reader& in) {
    node_.channel().hold(shared_from_this());
    const bool flexible = response_header_is_flexible(header.api_key, header.version);
    if (!row.invoke(context, in,
                    {weak_from_this(), this, 0, header.correlation_id, header.version, flexible})) {
      finish(fail(ErrorCode::kInvalidRequest, "the request cannot be read"));
    }
  }
  void complete(uint64_t, Writer frame) override {
    const Bytes bytes = frame.flatten();
    finish(bytes.slice(4, bytes.size() - 4));
  }
  void complete_without_answer(uint64_t) override {
    finish(fail(ErrorCode::kUnknownServerError, "the request has no answer"));
  }
  void abandon() override {
    finish(fail(ErrorCode::kUnknownServerError, "the request was abandoned"));
  }
  bool is_here() const override { return true; }
  void post(std::move_only_function<void()> task) override {
    node_.shard(kControllerShard).at(kControllerShard, [task = std::move(task)](Broker&) mutable {
      task();
    });
  }

 private:
  void finish(Result<Bytes> answer) {
    const auto keep = node_.channel().let_go(this);
    if (!std::exchange(finished_, true)) {
      // An answer that a lost leadership has spoilt is nobody's.
      done_(node_.quorum().is_active() ? std::move(answer)
                                       : fail(ErrorCode::kNotController, "no longer active"));
    }
  }

  Node& node_;
  Done done_;
  bool finished_ = false;
};

}  // namespace

void answer_at_controller(Node& node, const Bytes& frame, const std::string& client_host,
                          const std::string& listener,
                          std::move_only_function<void(Result<Bytes>)> done) {
  if (!node.quorum().is_active()) {
    return done(fail(ErrorCode::kNotController, "this node is not the active controller"));
  }
  Reader in(frame);
  const auto header = decode_request_header(in);
  const HandlerRow* const row = header ? find_handler(header->api_key) : nullptr;
  if (row == nullptr || row->forwarding == Forwarding::kNone) {
    return done(fail(header ? ErrorCode::kInvalidRequest : header.error().code,
                     "the request is not one that is forwarded"));
  }
  RequestContext context{node.shard(kControllerShard),
                         header->version,
                         header->client_id.value_or(""),
                         client_host,
                         listener,
                         true};
  std::make_shared<Inside>(node, std::move(done))->invoke(*row, context, *header, in);
  node.raft_driver().arm();
}

}  // namespace klamm::broker
