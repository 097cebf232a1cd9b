#pragma once
// The way from this node to the active controller, be it on this node or on another. Lives on the
// controller's shard. Does not try again: who asks knows best whether and when.
#include <map>
#include <memory>
#include <utility>

#include "broker/cluster/controller.h"
#include "replication/transport.h"

namespace klamm::broker {

class ControllerChannel {
 public:
  ControllerChannel(replication::Quorum& quorum, Controller& controller,
                    replication::Transport& transport, int64_t timeout_ms)
      : quorum_(quorum), controller_(controller), transport_(transport), timeout_ms_(timeout_ms) {}

  // `done` gets the answer; NOT_CONTROLLER when nobody is known to lead, NETWORK_EXCEPTION or
  // REQUEST_TIMED_OUT when the leader cannot be reached.
  template <class Response, class Request>
  void ask(Request request, std::move_only_function<void(Result<Response>)> done) {
    if (quorum_.is_active()) {
      return controller_.handle(
          request, Request::kVersionMax,
          [done = std::move(done)](Response response) mutable { done(std::move(response)); });
    }
    ask_remote<Response>(std::move(request), std::move(done));
  }
  // The same for what only another node's controller is asked in this way.
  template <class Response, class Request>
  void ask_remote(Request request, std::move_only_function<void(Result<Response>)> done) {
    const replication::Address* const leader = quorum_.raft().leader_address();
    if (quorum_.raft().is_leader() || leader == nullptr) {
      return done(fail(ErrorCode::kNotController, "no active controller is known"));
    }
    replication::call<Response>(transport_, *leader, std::move(request), timeout_ms_,
                                std::move(done));
  }

  // Something that waits for an answer of this node's controller; what is still held ends with it.
  void hold(std::shared_ptr<void> waiting) {
    const void* const key = waiting.get();
    held_[key] = std::move(waiting);
  }
  std::shared_ptr<void> let_go(const void* waiting) {
    auto node = held_.extract(waiting);
    return node.empty() ? nullptr : std::move(node.mapped());
  }

 private:
  replication::Quorum& quorum_;
  Controller& controller_;
  replication::Transport& transport_;
  int64_t timeout_ms_;
  std::map<const void*, std::shared_ptr<void>> held_;
};

}  // namespace klamm::broker
