#include "replication/partition/partition.h"

#include <algorithm>

namespace klamm::replication {

ErrorCode Partition::check_epoch(int32_t requested) const {
  if (requested < 0 || requested == leader_epoch_) {
    return ErrorCode::kNone;
  }
  return requested < leader_epoch_ ? ErrorCode::kFencedLeaderEpoch : ErrorCode::kUnknownLeaderEpoch;
}

Result<storage::AppendInfo> Partition::append(protocol::Bytes batch, int16_t acks, int64_t now_ms) {
  const auto min_isr = static_cast<size_t>(log_->config().min_insync_replicas);
  if (acks == -1 && isr_size_ < min_isr) {
    return fail(
        ErrorCode::kNotEnoughReplicas,
        "The size of the current ISR is insufficient to satisfy the min.isr requirement of " +
            std::to_string(min_isr) + " for partition " + id_.directory());
  }
  TRY(const auto info, log_->append_as_leader(std::move(batch), leader_epoch_, now_ms));
  if (!info.duplicate) {
    flush_demanded_to_ = log_->flush_is_demanded() ? log_->end_offset() : flush_demanded_to_;
    flush_if_due(now_ms);
    advance_high_watermark();
  }
  return info;
}

// This node is the whole ISR, so what it has is committed, and what it must not lose is on the
// medium.
void Partition::advance_high_watermark() {
  const int64_t flushed = log_->recovery_point();
  const int64_t safe = flushed >= flush_demanded_to_ ? log_->end_offset() : flushed;
  if (safe <= high_watermark_) {
    return;
  }
  high_watermark_ = safe;
  const auto still = std::find_if(waiting_.begin(), waiting_.end(), [this](const auto& waiter) {
    return waiter.first > high_watermark_;
  });
  // A callback may append, and wait again.
  std::vector<std::pair<int64_t, Committed>> done(std::make_move_iterator(waiting_.begin()),
                                                  std::make_move_iterator(still));
  waiting_.erase(waiting_.begin(), still);
  for (auto& [end, callback] : done) {
    callback(ErrorCode::kNone);
  }
  notify_all();
}

void Partition::when_committed(int64_t end, Committed callback) {
  if (end <= high_watermark_) {
    return callback(ErrorCode::kNone);
  }
  waiting_.emplace_back(end, std::move(callback));
}

void Partition::flush_if_due(int64_t now_ms) {
  if (flushing_ || !log_->flush_is_due(now_ms)) {
    return;
  }
  auto begun = log_->begin_flush(now_ms);
  if (!begun) {
    return refuse_waiting(begun.error().code);
  }
  flushing_ = true;
  const auto flush = std::make_shared<storage::LogFlush>(std::move(*begun));
  background_.run([flush] { return flush->run(); },
                  [weak = weak_from_this(), flush, now_ms](const Result<>& outcome) {
                    if (const auto self = weak.lock()) {
                      self->flushed(std::move(*flush), outcome, now_ms);
                    }
                  });
}

void Partition::flushed(storage::LogFlush flush, const Result<>& outcome, int64_t now_ms) {
  flushing_ = false;
  const bool seals_segment = flush.seals_segment();
  log_->finish_flush(std::move(flush), outcome);
  if (outcome && seals_segment) {
    on_synced_();
  }
  if (!outcome) {
    return refuse_waiting(outcome.error().code);
  }
  advance_high_watermark();
  flush_if_due(now_ms);
}

void Partition::refuse_waiting(ErrorCode why) {
  for (auto& [end, callback] : std::exchange(waiting_, {})) {
    callback(why);
  }
}

void Partition::shut_down(ErrorCode why) {
  refuse_waiting(why);
  notify_all();
}

void Partition::watch(std::weak_ptr<Watcher> watcher) {
  // Watchers that were answered meanwhile are swept once they may be the majority.
  if (watchers_.size() >= 64 && watchers_.size() == watchers_.capacity()) {
    std::erase_if(watchers_, [](const auto& old) { return old.expired(); });
  }
  watchers_.push_back(std::move(watcher));
}

void Partition::notify_all() {
  if (watchers_.empty()) {
    return;
  }
  const auto told = std::exchange(watchers_, {});
  for (const auto& watcher : told) {
    if (const auto alive = watcher.lock()) {
      alive->notify();
    }
  }
}

}  // namespace klamm::replication
