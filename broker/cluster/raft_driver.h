#pragma once
// Gives Raft its time: ticks it when it is due, and looks when that is after everything that may
// have changed it. Stands between Raft and its transport, whose answers are such events.
#include <memory>
#include <optional>

#include "broker/timers.h"
#include "replication/raft/raft.h"
#include "replication/transport.h"

namespace klamm::broker {

class RaftDriver : public replication::Transport {
 public:
  RaftDriver(replication::Transport& transport, Timers& timers)
      : transport_(transport), timers_(timers) {}

  void drive(replication::Raft& raft) {
    raft_ = &raft;
    arm();
  }
  // After anything that was done to Raft but `send`'s answers and its ticks.
  void arm() {
    const int64_t deadline = raft_ == nullptr ? INT64_MAX : raft_->deadline_ms();
    if (timer_ && timer_->first == deadline) {
      return;
    }
    if (timer_) {
      timers_.cancel(*std::exchange(timer_, std::nullopt));
    }
    if (deadline != INT64_MAX) {
      timer_ = timers_.at(deadline, [this] {
        timer_.reset();
        raft_->tick();
        arm();
      });
    }
  }
  void send(const replication::Address& to, replication::Call call) override {
    call.done = [this,
                 done = std::move(call.done)](Result<replication::CallAnswer> answer) mutable {
      done(std::move(answer));
      arm();
    };
    transport_.send(to, std::move(call));
  }

 private:
  replication::Transport& transport_;
  Timers& timers_;
  replication::Raft* raft_ = nullptr;
  std::optional<Timers::Id> timer_;
};

}  // namespace klamm::broker
