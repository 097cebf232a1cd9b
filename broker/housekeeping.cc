#include "broker/housekeeping.h"

#include <spdlog/spdlog.h>

namespace klamm::broker {

namespace {

constexpr int64_t kInitialDelayMs = 30'000;
constexpr int64_t kPauseMs = 1;
constexpr size_t kSlice = 8;  // logs
constexpr size_t kRecoveriesAtOnce = 4;
constexpr size_t kProgressStep = 500;

}  // namespace

Housekeeping::Housekeeping(const BrokerConfig& config, Replicas& replicas, Timers& timers,
                           const storage::Clock& clock)
    : replicas_(replicas),
      timers_(timers),
      clock_(clock),
      interval_ms_(config.number("log.retention.check.interval.ms")),
      producer_expiry_ms_(config.number("producer.id.expiration.ms")) {}

void Housekeeping::start(bool recover) {
  timers_.after(clock_, std::min(interval_ms_, kInitialDelayMs), [this] { look(); });
  if (recover) {
    to_recover_ = replicas_.known();
    recoveries_ = to_recover_.size();
    if (recoveries_ > 0) {
      spdlog::info("the last stop was not clean; recovering {} logs", recoveries_);
    }
    recover_more();
  }
}

void Housekeeping::look() {
  to_keep_ = replicas_.known();
  replicas_.remove_deleted();
  slice();
}

void Housekeeping::slice() {
  for (size_t i = 0; i < kSlice && !to_keep_.empty(); ++i) {
    replicas_.housekeep(to_keep_.back(), producer_expiry_ms_);
    to_keep_.pop_back();
  }
  if (to_keep_.empty()) {
    timers_.after(clock_, interval_ms_, [this] { look(); });
  } else {
    timers_.after(clock_, kPauseMs, [this] { slice(); });
  }
}

void Housekeeping::recover_more() {
  while (!to_recover_.empty() && open_recoveries_ < kRecoveriesAtOnce) {
    const auto id = to_recover_.back();
    to_recover_.pop_back();
    ++open_recoveries_;
    replicas_.open_in_background(id, [this, id](const Result<bool>& opened) {
      --open_recoveries_;
      if (!opened) {
        spdlog::error("cannot open {}: {}", id.directory(), opened.error().why);
      }
      const size_t left = recovering();
      if (left % kProgressStep == 0) {
        spdlog::info("recovered {} of {} logs", recoveries_ - left, recoveries_);
      }
      if (open_recoveries_ < kRecoveriesAtOnce && !to_recover_.empty()) {
        timers_.after(clock_, 0, [this] { recover_more(); });
      }
    });
  }
}

}  // namespace klamm::broker
