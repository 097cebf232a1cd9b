#pragma once
// This broker's membership in the cluster (KIP-631): registers with the active controller, sends
// heartbeats, is unfenced once it has caught up with the metadata, and takes its leave. Also
// registers the controller role. Lives on the controller's shard.
#include <functional>
#include <optional>
#include <vector>

#include "broker/cluster/controller_channel.h"
#include "broker/config/broker_config.h"
#include "broker/timers.h"

namespace klamm::broker {

class Lifecycle {
 public:
  struct Self {
    std::string cluster_id;
    protocol::Uuid incarnation;
    std::vector<protocol::Uuid> directories;
    int64_t previous_epoch = -1;  // of a clean stop
  };
  Lifecycle(const BrokerConfig& config, Self self, replication::Quorum& quorum,
            ControllerChannel& channel, Timers& timers, const storage::Clock& clock)
      : config_(config),
        self_(std::move(self)),
        quorum_(quorum),
        channel_(channel),
        timers_(timers),
        clock_(clock) {}

  // Begins; told again whenever the leader or the metadata have changed.
  void start();
  void on_leadership();
  void on_metadata();

  int64_t broker_epoch() const { return epoch_; }
  bool is_running() const { return state_ == State::kRunning; }
  // Called once when the controller has let this broker in.
  void on_running(std::function<void()> told);
  // Directories have failed; the next heartbeat says so.
  void report_failed(const protocol::Uuid& directory);
  // Hands over what this broker leads, as far as others can take it. `done` is called once.
  void stop(std::function<void()> done);

 private:
  enum class State { kIdle, kRegistering, kFenced, kRunning, kStopping, kStopped };
  void register_broker();
  void on_registered(Result<protocol::BrokerRegistrationResponse> answer);
  void register_controller();
  void beat();
  void on_beat(Result<protocol::BrokerHeartbeatResponse> answer);
  void again_in(int64_t wait_ms);
  void finish_stop();

  const BrokerConfig& config_;
  Self self_;
  replication::Quorum& quorum_;
  ControllerChannel& channel_;
  Timers& timers_;
  const storage::Clock& clock_;
  State state_ = State::kIdle;
  int64_t epoch_ = -1;
  bool asking_ = false;  // a request is on its way
  bool asked_again_ = false;
  bool controller_registered_ = false;
  bool registering_controller_ = false;
  int32_t leader_seen_ = -1;
  std::vector<protocol::Uuid> failed_;
  std::optional<Timers::Id> timer_;
  std::optional<Timers::Id> controller_timer_;
  std::vector<std::function<void()>> on_running_;
  std::function<void()> stopped_;
  int64_t stop_deadline_ms_ = 0;
  int64_t controller_heard_ms_ = 0;
};

}  // namespace klamm::broker
