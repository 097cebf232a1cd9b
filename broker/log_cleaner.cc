#include "broker/log_cleaner.h"

#include <spdlog/spdlog.h>

namespace klamm::broker {

namespace {

// A slice is short beside what clients notice; the pause lets their requests in.
constexpr int64_t kSliceMs = 2;
constexpr int kStepsMax = 16;  // in a slice
constexpr uint64_t kStepBytes = 256 * 1024;
constexpr int64_t kPauseMs = 1;

}  // namespace

LogCleaner::LogCleaner(const BrokerConfig& config, Replicas& replicas, Timers& timers,
                       const storage::Clock& clock, storage::Background& background)
    : replicas_(replicas),
      timers_(timers),
      clock_(clock),
      background_(background),
      enabled_(config.flag("log.cleaner.enable")),
      backoff_ms_(config.number("log.cleaner.backoff.ms")),
      map_bytes_max_(static_cast<uint64_t>(config.number("log.cleaner.dedupe.buffer.size"))) {}

void LogCleaner::start() {
  if (enabled_) {
    timers_.after(clock_, backoff_ms_, [this] { look(); });
  }
}

void LogCleaner::look() {
  for (const Partition* partition : replicas_.compacted()) {
    waiting_.emplace_back(partition->topic_id(), partition->id().partition);
  }
  begin_next();
}

void LogCleaner::begin_next() {
  while (!waiting_.empty()) {
    current_ = waiting_.back();
    waiting_.pop_back();
    Partition* const partition = replicas_.find_open(current_.first, current_.second);
    if (partition == nullptr || uncleanable_.contains(current_)) {
      continue;
    }
    auto begun = storage::Compaction::begin(
        partition->log(), std::min(partition->high_watermark(), partition->last_stable_offset()),
        clock_.wall_ms(), map_bytes_max_);
    if (begun && *begun != nullptr) {
      compaction_ = std::move(*begun);
      compacted_ = &partition->log();
      timers_.after(clock_, kPauseMs, [this] { go_on(); });
      return;
    }
  }
  timers_.after(clock_, std::max<int64_t>(backoff_ms_, kPauseMs), [this] { look(); });
}

void LogCleaner::go_on() {
  Partition* const partition = replicas_.find_open(current_.first, current_.second);
  if (partition == nullptr || &partition->log() != compacted_) {  // deleted or moved meanwhile
    compaction_.reset();
    return begin_next();
  }
  const int64_t until = clock_.monotonic_ms() + kSliceMs;
  Result<bool> done = false;
  for (int i = 0; i < kStepsMax && done && !*done && clock_.monotonic_ms() < until; ++i) {
    if (compaction_->unsynced() != nullptr) {
      return sync();
    }
    done = compaction_->step(kStepBytes);
  }
  if (done && !*done) {
    timers_.after(clock_, kPauseMs, [this] { go_on(); });
    return;
  }
  end(done ? Result<>() : std::unexpected(done.error()));
}

void LogCleaner::sync() {
  background_.run([file = compaction_->unsynced()] { return file->sync(); },
                  [this](const Result<>& outcome) {
                    if (!outcome) {
                      return end(outcome);
                    }
                    compaction_->note_synced();
                    go_on();
                  });
}

void LogCleaner::end(const Result<>& outcome) {
  if (!outcome) {
    uncleanable_.insert(current_);
    spdlog::error("cannot compact partition {} of {}: {}", current_.second,
                  current_.first.to_string(), outcome.error().why);
  } else if (const Partition* const partition =
                 replicas_.find_open(current_.first, current_.second)) {
    spdlog::info("compacted {}: {} bytes became {}", partition->id().directory(),
                 compaction_->bytes_read(), compaction_->bytes_kept());
  }
  compaction_.reset();
  begin_next();
}

}  // namespace klamm::broker
