#pragma once
// A replica of a partition on this node, leader or follower: the log, the leader epoch, the high
// watermark, and those who wait for it to move.
//
// The leader knows how far each follower has come by their fetches. What every member of the ISR
// has (of the one in force and of the one that is being proposed) is committed; with
// flush.messages it must be on the medium here, too, and what is appended while a flush is under
// way waits for the next one together. A follower's high watermark is what its leader told.
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "protocol/generated/alter_partition_request.h"
#include "replication/metadata/image.h"
#include "storage/checkpoint.h"
#include "storage/env/background.h"
#include "storage/log.h"

namespace klamm::replication {

// Told once when a partition that it was added to has news or goes away.
class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual void notify() = 0;
};

// What a leader would have the controller write (KIP-497).
struct IsrProposal {
  Uuid topic_id;
  int32_t partition = 0;
  int32_t leader_epoch = 0;
  int32_t partition_epoch = 0;
  int8_t recovery_state = 0;
  std::vector<protocol::AlterPartitionRequest::BrokerState> isr;
};

struct PartitionOptions {
  int32_t node_id = 1;
  int64_t high_watermark = 0;  // of the last checkpoint
  int64_t lag_time_max_ms = 30'000;
  // A background flush has moved the log's recovery point by a segment.
  std::function<void()> on_synced = [] {};
  std::function<void(const IsrProposal&)> propose = [](const IsrProposal&) {};
  // Whether the controller would let a broker of this epoch (-1: unknown) into an ISR: it is
  // registered under it, not fenced and not about to stop.
  std::function<bool(int32_t broker, int64_t broker_epoch)> is_eligible = [](int32_t, int64_t) {
    return true;
  };
};

class Partition : public std::enable_shared_from_this<Partition> {
 public:
  using Committed = std::move_only_function<void(ErrorCode)>;

  Partition(storage::TopicPartition id, Uuid topic_id, std::unique_ptr<storage::Log> log,
            storage::Background& background, PartitionOptions options = {});

  const storage::TopicPartition& id() const { return id_; }
  const Uuid& topic_id() const { return topic_id_; }
  storage::Log& log() { return *log_; }
  const storage::Log& log() const { return *log_; }
  bool is_leader() const { return is_leader_; }
  int32_t leader() const { return leader_; }
  int32_t leader_epoch() const { return leader_epoch_; }
  int64_t high_watermark() const { return high_watermark_; }
  // Up to where read_committed consumers may read.
  int64_t last_stable_offset() const {
    return std::min(high_watermark_, log_->first_unstable_offset(high_watermark_));
  }

  // Takes over what the image says of this partition.
  void update(const PartitionImage& image, int64_t now_ms = 0);
  // FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH when the requester's epoch (-1: does not say) is
  // not the leader's.
  ErrorCode check_epoch(int32_t requested) const;
  // Brings to the medium in the background what is due (Log::flush_is_due).
  void flush_if_due(int64_t now_ms);
  bool is_flushing() const { return flushing_; }
  // For a partition that is shut down: calls back when its flush has ended; it begins no other.
  void when_flushed(std::move_only_function<void()> told) { flushed_ = std::move(told); }
  // Whether all of the log is as safe here as the topic wants it. A follower tells its leader of no
  // more than that.
  bool is_safe() const { return safe_end() >= log_->end_offset(); }
  // Goes on with another log of the same content. Not while one is being flushed.
  void replace_log(std::unique_ptr<storage::Log> log) {
    log_ = std::move(log);
    if (is_leader_) {
      log_->begin_epoch(leader_epoch_);
    }
  }
  // The partition is served here no longer: those who wait are told `why`.
  void shut_down(ErrorCode why);

  // Leader. Appends a validated batch. NOT_ENOUGH_REPLICAS when `acks` is -1 and the ISR is too
  // small.
  Result<storage::AppendInfo> append(protocol::Bytes batch, int16_t acks, int64_t now_ms,
                                     const storage::AppendOrigin& origin = {});
  // Calls back with kNone once everything below `end` is committed (acks=-1) or as safe here as the
  // topic wants it (acks=1), at once if it is. Other codes: NOT_LEADER_OR_FOLLOWER,
  // KAFKA_STORAGE_ERROR.
  void when_committed(int64_t end, Committed callback) {
    wait(waiting_, high_watermark_, end, std::move(callback));
  }
  void when_written(int64_t end, Committed callback) {
    wait(writing_, safe_end(), end, std::move(callback));
  }
  // Calls back once every replica whose broker is alive begins at `offset` or behind it.
  void when_deleted(int64_t offset, Committed callback) {
    wait(deleting_, low_watermark(), offset, std::move(callback));
  }
  // Where the log of a follower begins.
  void note_start(int32_t broker, int64_t log_start);
  // A follower has everything below `offset`. `broker_epoch` -1: it does not say.
  // UNKNOWN_TOPIC_OR_PARTITION when it is no replica.
  ErrorCode note_fetch(int32_t broker, int64_t broker_epoch, int64_t offset, int64_t now_ms);
  // Proposes to do without followers that lag. To be called now and then.
  void shrink_isr(int64_t now_ms);
  // The controller has decided on the proposal, or it is not known whether it has: then both ISRs
  // stay in force until it is asked again, or the metadata say so.
  void on_proposed(ErrorCode code, int32_t leader_epoch, const std::vector<int32_t>& isr,
                   int32_t partition_epoch, int64_t now_ms);
  const std::vector<int32_t>& isr() const { return isr_; }
  // Up to where a follower has fetched; -1 when that is not known.
  int64_t end_of_follower(int32_t broker) const {
    const auto found = followers_.find(broker);
    return found == followers_.end() ? -1 : found->second.end_offset;
  }

  // Follower. Takes over what the leader of `epoch` sent for the log's end.
  Result<> append_fetched(const protocol::Bytes& records, int64_t leader_high_watermark,
                          int64_t leader_start, int64_t now_ms);
  // The leader's log has other records after the end of `epoch` there.
  Result<> truncate(int32_t epoch, int64_t end_offset, int64_t now_ms);
  // The leader's log begins behind the end of this one.
  Result<> begin_again_at(int64_t offset);

  // Adds a watcher of the high watermark, or of the log's end; it is dropped when told.
  void watch(std::weak_ptr<Watcher> watcher, bool of_end = false);
  // How many wait, with those that were answered by others and are not swept yet.
  size_t watchers() const { return watchers_.size() + end_watchers_.size(); }
  void notify_all();

 private:
  struct Follower {
    int64_t end_offset = -1;
    int64_t log_start = -1;
    int64_t last_fetch_ms = 0;
    int64_t last_fetch_leader_end = -1;
    int64_t last_caught_up_ms = 0;
    int64_t broker_epoch = -1;
  };
  using Waiting = std::vector<std::pair<int64_t, Committed>>;  // by the offset that they wait for

  void lead(const PartitionImage& image, int64_t now_ms);
  void follow(const PartitionImage& image);
  size_t min_isr() const;
  int64_t safe_end() const;
  int64_t low_watermark() const;
  void advance(int64_t now_ms);
  void advance_high_watermark(int64_t now_ms);
  void wait(Waiting& list, int64_t reached, int64_t end, Committed callback);
  static void release(Waiting& list, int64_t reached);
  void release_deleting();
  void refuse_waiting(ErrorCode why);
  void expand_isr(int32_t broker);
  void propose(std::vector<int32_t> isr);
  bool propose_again();
  static void notify(std::vector<std::weak_ptr<Watcher>>& watchers);
  void flushed(storage::LogFlush flush, const Result<>& outcome, int64_t now_ms);

  storage::TopicPartition id_;
  Uuid topic_id_;
  std::unique_ptr<storage::Log> log_;
  storage::Background& background_;
  PartitionOptions options_;
  int32_t leader_ = -1;
  bool is_leader_ = false;
  int32_t leader_epoch_ = -1;
  int64_t epoch_start_ = 0;
  int32_t partition_epoch_ = -1;
  int8_t recovery_state_ = 0;
  std::vector<int32_t> replicas_;
  std::vector<int32_t> isr_;
  std::optional<std::vector<int32_t>> proposed_;
  bool proposal_is_open_ = false;  // nobody has said what became of it
  std::map<int32_t, Follower> followers_;
  int64_t high_watermark_ = 0;
  bool flushing_ = false;
  std::move_only_function<void()> flushed_;
  int64_t flush_demanded_to_ = 0;  // what is below it is safe once it is flushed
  Waiting waiting_;                // for the high watermark
  Waiting writing_;                // for this log
  Waiting deleting_;               // for the low watermark
  std::vector<std::weak_ptr<Watcher>> watchers_;
  std::vector<std::weak_ptr<Watcher>> end_watchers_;
};

}  // namespace klamm::replication
