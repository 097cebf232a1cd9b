#pragma once
// A partition of which this node is the leader: the log, the leader epoch and the high watermark,
// and those who wait for the high watermark to move. With flush.messages it moves once the log is
// on the medium; what is appended while a flush is under way waits for the next one together.
#include <functional>
#include <memory>
#include <vector>

#include "replication/metadata/image.h"
#include "storage/checkpoint.h"
#include "storage/env/background.h"
#include "storage/log.h"

namespace klamm::replication {

// Told once when a partition that it was added to has new committed records or goes away.
class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual void notify() = 0;
};

class Partition : public std::enable_shared_from_this<Partition> {
 public:
  using Committed = std::move_only_function<void(ErrorCode)>;

  // `on_synced` is called when a background flush has moved the log's recovery point by a segment.
  Partition(
      storage::TopicPartition id, Uuid topic_id, std::unique_ptr<storage::Log> log,
      storage::Background& background, std::function<void()> on_synced = [] {})
      : id_(std::move(id)),
        topic_id_(topic_id),
        log_(std::move(log)),
        background_(background),
        on_synced_(std::move(on_synced)) {
    high_watermark_ = log_->end_offset();
  }

  const storage::TopicPartition& id() const { return id_; }
  const Uuid& topic_id() const { return topic_id_; }
  storage::Log& log() { return *log_; }
  int32_t leader_epoch() const { return leader_epoch_; }
  int64_t high_watermark() const { return high_watermark_; }
  // Up to where read_committed consumers may read.
  int64_t last_stable_offset() const {
    return std::min(high_watermark_, log_->first_unstable_offset(high_watermark_));
  }

  // Takes over what the image says of this partition.
  void update(const PartitionImage& image) {
    leader_epoch_ = image.leader_epoch;
    log_->begin_epoch(leader_epoch_);
    isr_size_ = image.isr.size();
  }
  // FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH when the requester's epoch (-1: does not say) is
  // not the leader's.
  ErrorCode check_epoch(int32_t requested) const;
  // Appends a validated batch. NOT_ENOUGH_REPLICAS when `acks` is -1 and the ISR is too small.
  Result<storage::AppendInfo> append(protocol::Bytes batch, int16_t acks, int64_t now_ms);
  // Calls back with kNone once everything below `end` is committed, at once if it is, or with
  // KAFKA_STORAGE_ERROR when that fails.
  void when_committed(int64_t end, Committed callback);
  // Brings to the medium in the background what is due (Log::flush_is_due).
  void flush_if_due(int64_t now_ms);
  bool is_flushing() const { return flushing_; }
  // Goes on with another log of the same content. Not while one is being flushed.
  void replace_log(std::unique_ptr<storage::Log> log) {
    log_ = std::move(log);
    log_->begin_epoch(leader_epoch_);
  }
  // The partition is served here no longer: those who wait are told `why`.
  void shut_down(ErrorCode why);
  // Adds a watcher; it is dropped when told.
  void watch(std::weak_ptr<Watcher> watcher);
  void notify_all();

 private:
  void advance_high_watermark();
  void flushed(storage::LogFlush flush, const Result<>& outcome, int64_t now_ms);
  void refuse_waiting(ErrorCode why);

  storage::TopicPartition id_;
  Uuid topic_id_;
  std::unique_ptr<storage::Log> log_;
  storage::Background& background_;
  std::function<void()> on_synced_;
  bool flushing_ = false;
  int64_t flush_demanded_to_ = 0;  // what is below it is committed once it is flushed
  std::vector<std::pair<int64_t, Committed>> waiting_;  // by the offset that they wait for
  int32_t leader_epoch_ = 0;
  size_t isr_size_ = 1;
  int64_t high_watermark_ = 0;
  std::vector<std::weak_ptr<Watcher>> watchers_;
};

}  // namespace klamm::replication
