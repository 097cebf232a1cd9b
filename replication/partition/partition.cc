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
    advance_high_watermark();
  }
  return info;
}

// This node is the whole ISR, so what it has is committed.
void Partition::advance_high_watermark() {
  high_watermark_ = log_->end_offset();
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
