#include "broker/cluster/lifecycle.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "replication/metadata/features.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int64_t kRetryMs = 100;
constexpr int64_t kFencedBeatMs = 50;
constexpr int64_t kStopBeatMs = 50;
constexpr int64_t kStopMaxMs = 30'000;
constexpr int64_t kStopUnheardMs = 3'000;  // without a controller nobody takes over anything

// Numbers of the security protocols on the wire.
int16_t number_of(const std::string& protocol) {
  static constexpr const char* kNames[] = {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"};
  for (int16_t i = 0; i < 4; ++i) {
    if (protocol == kNames[i]) {
      return i;
    }
  }
  return 0;
}

template <class Request>
void describe(Request& request, const std::vector<Endpoint>& endpoints) {
  for (const Endpoint& endpoint : endpoints) {
    request.listeners.push_back({.name = endpoint.name,
                                 .host = endpoint.host,
                                 .port = endpoint.port,
                                 .security_protocol = number_of(endpoint.protocol)});
  }
  for (const auto& feature : replication::kFeatures) {
    request.features.push_back({.name = feature.name,
                                .min_supported_version = feature.level_min,
                                .max_supported_version = feature.level_max});
  }
}

}  // namespace

void Lifecycle::start() {
  register_controller();
  if (config_.is_broker()) {
    state_ = State::kRegistering;
    register_broker();
  }
}

void Lifecycle::on_running(std::function<void()> told) {
  if (state_ == State::kRunning || (!config_.is_broker() && state_ == State::kIdle)) {
    return told();
  }
  on_running_.push_back(std::move(told));
}

void Lifecycle::again_in(int64_t wait_ms) {
  if (timer_) {
    timers_.cancel(*timer_);
  }
  timer_ = timers_.after(clock_, wait_ms, [this] {
    timer_.reset();
    state_ == State::kRegistering ? register_broker() : beat();
  });
}

// A new leader wants to hear from everybody.
void Lifecycle::on_leadership() {
  const int32_t leader = quorum_.is_active() || quorum_.raft().leader_address() != nullptr
                             ? quorum_.raft().leader()
                             : -1;
  if (leader < 0 || (leader == leader_seen_ && !quorum_.is_active())) {
    return;
  }
  leader_seen_ = leader;
  if (state_ != State::kIdle && state_ != State::kStopped) {
    again_in(0);
  }
  if (config_.is_controller() && !controller_registered_) {
    register_controller();
  }
}

void Lifecycle::on_metadata() {
  if (state_ == State::kFenced && quorum_.image()->offset >= epoch_) {
    again_in(0);
  }
}

void Lifecycle::register_controller() {
  if (!config_.is_controller() || registering_controller_) {
    return;
  }
  ControllerRegistrationRequest request;
  request.controller_id = config_.node_id();
  request.incarnation_id = self_.incarnation;
  describe(request, config_.controller_advertised());
  registering_controller_ = true;
  channel_.ask<ControllerRegistrationResponse>(
      std::move(request), [this](Result<ControllerRegistrationResponse> answer) {
        registering_controller_ = false;
        controller_registered_ = answer && answer->error_code == ErrorCode::kNone;
        if (!controller_registered_ && !controller_timer_) {
          controller_timer_ = timers_.after(clock_, kRetryMs, [this] {
            controller_timer_.reset();
            if (!controller_registered_) {
              register_controller();
            }
          });
        }
      });
}

void Lifecycle::register_broker() {
  if (asking_) {
    asked_again_ = true;
    return;
  }
  BrokerRegistrationRequest request;
  request.broker_id = config_.node_id();
  request.cluster_id = self_.cluster_id;
  request.incarnation_id = self_.incarnation;
  describe(request, config_.advertised());
  request.rack.reset();
  if (const std::string* const rack = config_.find("broker.rack")) {
    request.rack = *rack;
  }
  request.log_dirs = self_.directories;
  request.previous_broker_epoch = self_.previous_epoch;
  asking_ = true;
  channel_.ask<BrokerRegistrationResponse>(
      std::move(request),
      [this](Result<BrokerRegistrationResponse> answer) { on_registered(std::move(answer)); });
}

void Lifecycle::on_registered(Result<BrokerRegistrationResponse> answer) {
  asking_ = false;
  if (state_ != State::kRegistering) {
    return;
  }
  const ErrorCode code = answer ? answer->error_code : answer.error().code;
  if (code != ErrorCode::kNone) {
    const bool is_waiting = code == ErrorCode::kNotController ||
                            code == ErrorCode::kNetworkException ||
                            code == ErrorCode::kRequestTimedOut;
    if (!is_waiting) {
      spdlog::warn("the controller refused to register broker {}: {}; trying again",
                   config_.node_id(), name_of(code));
    }
    return again_in(std::exchange(asked_again_, false) ? 0 : is_waiting ? kRetryMs : 10 * kRetryMs);
  }
  asked_again_ = false;
  epoch_ = answer->broker_epoch;
  state_ = State::kFenced;
  beat();
}

void Lifecycle::report_failed(const Uuid& directory) {
  failed_.push_back(directory);
  if (state_ == State::kRunning || state_ == State::kFenced) {
    beat();
  }
}

void Lifecycle::beat() {
  if (asking_) {
    asked_again_ = true;
    return;
  }
  const int64_t now = clock_.monotonic_ms();
  if (state_ == State::kStopping &&
      (now >= stop_deadline_ms_ || now - controller_heard_ms_ >= kStopUnheardMs)) {
    return finish_stop();
  }
  BrokerHeartbeatRequest request;
  request.broker_id = config_.node_id();
  request.broker_epoch = epoch_;
  request.current_metadata_offset = quorum_.image()->offset;
  request.want_shut_down = state_ == State::kStopping;
  request.offline_log_dirs = failed_;
  asking_ = true;
  channel_.ask<BrokerHeartbeatResponse>(
      std::move(request),
      [this](Result<BrokerHeartbeatResponse> answer) { on_beat(std::move(answer)); });
}

void Lifecycle::on_beat(Result<BrokerHeartbeatResponse> answer) {
  asking_ = false;
  const bool again = std::exchange(asked_again_, false);
  const ErrorCode code = answer ? answer->error_code : answer.error().code;
  if (code == ErrorCode::kStaleBrokerEpoch || code == ErrorCode::kBrokerIdNotRegistered) {
    if (state_ == State::kStopping) {
      return finish_stop();
    }
    self_.previous_epoch = epoch_;
    state_ = State::kRegistering;
    return register_broker();
  }
  if (code != ErrorCode::kNone) {
    return again_in(again ? 0 : kRetryMs);
  }
  controller_heard_ms_ = clock_.monotonic_ms();
  if (state_ == State::kStopping) {
    return answer->should_shut_down ? finish_stop() : again_in(kStopBeatMs);
  }
  if (!answer->is_fenced && state_ == State::kFenced) {
    state_ = State::kRunning;
    for (const auto& told : std::exchange(on_running_, {})) {
      told();
    }
  } else if (answer->is_fenced && state_ == State::kRunning) {
    spdlog::info("this broker has been fenced");
    state_ = State::kFenced;
  }
  again_in(again                      ? 0
           : state_ == State::kFenced ? kFencedBeatMs
                                      : config_.number("broker.heartbeat.interval.ms"));
}

void Lifecycle::stop(std::function<void()> done) {
  stopped_ = std::move(done);
  // Who is alone has nobody to hand over to.
  const bool has_others = quorum_.image()->brokers.size() > 1;
  if ((state_ != State::kRunning && state_ != State::kFenced) || !has_others ||
      !config_.flag("controlled.shutdown.enable")) {
    return finish_stop();
  }
  state_ = State::kStopping;
  controller_heard_ms_ = clock_.monotonic_ms();
  stop_deadline_ms_ = controller_heard_ms_ + kStopMaxMs;
  beat();
}

void Lifecycle::finish_stop() {
  state_ = State::kStopped;
  if (timer_) {
    timers_.cancel(*std::exchange(timer_, std::nullopt));
  }
  if (stopped_) {
    std::exchange(stopped_, nullptr)();
  }
}

}  // namespace klamm::broker
