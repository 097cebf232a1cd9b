#pragma once
// One partition's log: segments in a folder, with producer state and leader epochs. Appends go to
// the last segment, reads return file ranges. No thread of its own; one shard owns it. Times are
// wall-clock milliseconds given by the caller.
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "protocol/base/bytes.h"
#include "storage/checkpoint.h"
#include "storage/env/disk.h"
#include "storage/log_config.h"
#include "storage/open_files.h"
#include "storage/producer_state.h"
#include "storage/segment.h"

namespace klamm::storage {

struct AppendInfo {
  int64_t base_offset = -1;
  int64_t last_offset = -1;
  // -1 unless the topic uses log append time, or the batch is a duplicate: then the first's time.
  int64_t log_append_time_ms = -1;
  bool duplicate = false;  // nothing was written: the batch is there already, at these offsets
};

struct TimestampOffset {
  int64_t timestamp = -1;
  int64_t offset = -1;
  int32_t leader_epoch = -1;
};

// What brings a log to the medium up to where it ended when this was made. Holds its own
// references: the log may be appended to, and even go, while `run` is at work on some thread.
class LogFlush {
 public:
  Result<> run();
  bool seals_segment() const { return !snapshots_.empty(); }

 private:
  friend class Log;
  Disk* disk_ = nullptr;
  std::string folder_;
  bool names_changed_ = false;
  std::vector<std::shared_ptr<File>> files_;
  std::optional<std::string> epochs_;
  std::map<int64_t, std::string> snapshots_;  // of the producers, by offset
  int64_t end_offset_ = 0;
  uint64_t truncations_ = 0;
};

class Log {
 public:
  struct OpenOptions {
    int64_t recovery_point = 0;
    int64_t log_start_offset = 0;
    int64_t cleaned_to = 0;  // compaction has been here
    // The directory was closed cleanly: nothing is verified.
    bool clean = false;
    int64_t now_ms = 0;
  };
  // Opens the log in `folder`, creating it when empty. After an unclean stop everything from the
  // recovery point on is verified, and the log is cut at the first batch that is not sound.
  static Result<std::unique_ptr<Log>> open(Disk& disk, std::string folder, const LogConfig& config,
                                           const OpenOptions& options);

  // Renames the folder. For a log that nobody flushes at the time.
  Result<> rename_folder(std::string to);
  // From now on this log's files count among others. Called by the thread that owns both.
  void share(OpenFiles& open_files);

  const std::string& folder() const { return folder_; }
  const LogConfig& config() const { return config_; }
  void set_config(const LogConfig& config) { config_ = config; }
  int64_t start_offset() const { return start_offset_; }
  int64_t end_offset() const { return end_offset_; }
  int64_t recovery_point() const { return recovery_point_; }
  uint64_t size() const;
  size_t segment_count() const { return segments_.size(); }
  const LeaderEpochs& epochs() const { return epochs_; }
  const ProducerState& producers() const { return producers_; }
  // Where the first transaction begins that has no end below the high watermark, INT64_MAX for
  // none.
  int64_t first_unstable_offset(int64_t high_watermark) {
    return std::max(start_offset_, producers_.first_unstable_offset(high_watermark));
  }

  // Gives a validated batch its offsets and the leader's epoch (in place) and writes it, if its
  // producer may write it (ProducerState::check).
  Result<AppendInfo> append_as_leader(protocol::Bytes batch, int32_t leader_epoch, int64_t now_ms,
                                      const AppendOrigin& origin = {});
  // ProducerState::begin_verification
  uint64_t begin_verification(int64_t producer_id, int16_t epoch, int32_t base_sequence,
                              int64_t now_ms) {
    return producers_.begin_verification(producer_id, epoch, base_sequence, now_ms);
  }
  // Writes a sound batch that its leader has given offsets and epoch, at or above the log's end.
  Result<> append_as_follower(const protocol::Bytes& batch, int64_t now_ms);
  // Up to `size_max` bytes of batches from the one that holds `offset` on, none of it at or above
  // `end_bound`. With `at_least_one` the first batch comes whole even if it is larger. The last
  // batch may be cut. OFFSET_OUT_OF_RANGE outside [start, end].
  Result<protocol::Payload> read(int64_t offset, size_t size_max, int64_t end_bound,
                                 bool at_least_one);
  // The same for a reader of committed records, with the aborted transactions that overlap them.
  struct Committed {
    protocol::Payload records;
    TxnIndex aborted;
  };
  Result<Committed> read_committed(int64_t offset, size_t size_max, int64_t stable_end,
                                   bool at_least_one);
  // Calls `visit` for each whole batch at or above `offset` until it returns false.
  Result<> visit(int64_t offset, const std::function<bool(const protocol::BatchView&)>& visit);
  // First record at or after `timestamp`; offset -1 when there is none.
  Result<TimestampOffset> find_timestamp(int64_t timestamp);
  // The first record with the largest timestamp.
  Result<TimestampOffset> find_max_timestamp();

  // Moves the start up (DeleteRecords, retention); segments wholly below it go.
  Result<> advance_start(int64_t offset, int64_t now_ms);
  // Rolls by time, applies retention, removes files whose delay is over, expires producers. Deletes
  // at most up to `high_watermark`.
  Result<> housekeep(int64_t high_watermark, int64_t now_ms, int64_t producer_expiry_ms);
  // What was appended since the last flush asks for one: for flush.messages, which is a promise to
  // the producer, or for flush.ms or a roll, which nobody waits for.
  bool flush_is_demanded() const { return unflushed_records_ >= config_.flush_messages; }
  bool flush_is_due(int64_t now_ms) const {
    return flush_is_demanded() || rolled_ ||
           (unflushed_records_ > 0 && now_ms - last_flush_ms_ >= config_.flush_ms);
  }
  // A flush in three steps, of which the middle one (LogFlush::run) may happen on another thread.
  Result<LogFlush> begin_flush(int64_t now_ms);
  // Takes over its outcome: after success the recovery point stands where the log ended when it
  // began.
  void finish_flush(LogFlush&& flush, const Result<>& outcome);
  // All three at once.
  Result<> flush(int64_t now_ms);
  // For a clean stop: flush, write indexes and the producer snapshot.
  Result<> close();
  // A leader begins its epoch at the log's end, before it has written anything.
  void begin_epoch(int32_t leader_epoch) {
    epochs_changed_ = epochs_.assign(leader_epoch, end_offset_) || epochs_changed_;
  }
  // Forgets everything: the log is empty and begins at `offset`.
  Result<> begin_again_at(int64_t offset);
  // Cuts the log to end at `offset`.
  Result<> truncate_to(int64_t offset);

  // For compaction (compaction.h). Everything below has been cleaned once.
  int64_t cleaned_to() const { return cleaned_to_; }
  void set_cleaned_to(int64_t offset) { cleaned_to_ = offset; }
  // All segments but the one that is written to, in order.
  std::vector<Segment*> closed_segments();
  // Changes whenever a closed segment goes away or is replaced.
  uint64_t closed_generation() const { return closed_generation_; }
  // The base offset of the segment behind a closed one.
  int64_t base_behind(int64_t base_offset) const {
    return segments_.upper_bound(base_offset)->first;
  }
  // A new file for the cleaned form of a segment.
  Result<std::shared_ptr<File>> open_cleaned(int64_t base_offset) {
    return disk_.open(cleaned_path(base_offset), OpenMode::kCreateTruncated);
  }
  // Puts the synced file of open_cleaned(bases.front()) in the place of the segments of these base
  // offsets, which follow each other, with the aborted transactions whose markers it still holds. A
  // crash on the way leaves the old or the new.
  Result<> replace_segments(std::span<const int64_t> bases, const TxnIndex& aborted,
                            int64_t now_ms);
  // The aborted transactions that overlap [from, to).
  Result<TxnIndex> aborted_between(int64_t from, int64_t to);

 private:
  using Segments = std::map<int64_t, std::unique_ptr<Segment>>;
  // A stretch of one segment.
  struct Range {
    Segments::iterator segment;
    uint64_t position = 0;
    uint64_t size = 0;
  };

  Log(Disk& disk, std::string folder, const LogConfig& config)
      : disk_(disk), folder_(std::move(folder)), config_(config) {}
  Result<std::unique_ptr<Segment>> open_segment(int64_t base_offset, bool create);
  // recovery.cc
  Result<> open_segments(const OpenOptions& options);
  Result<std::set<int64_t>> clean_up_and_list(std::vector<int64_t>& swaps);
  Result<> finish_swap(int64_t base_offset, std::set<int64_t>& bases);
  Result<> recover(const OpenOptions& options);
  Result<> sync_recovered(int64_t now_ms);
  Segments::iterator first_to_verify(const OpenOptions& options);
  Result<> verify_from(Segments::iterator first);
  Result<bool> verify(Segment& segment);
  Result<> find_end(Segment& segment);
  Result<> load_producers(int64_t end);
  Result<> load_epochs();

  Result<> remove_now(int64_t base_offset);
  Result<std::optional<Range>> locate(int64_t offset, size_t size_max, int64_t end_bound,
                                      bool at_least_one);
  Result<protocol::Payload> payload_of(const Range& range);
  Result<> write(const protocol::Bytes& bytes, const protocol::BatchView& batch, int64_t now_ms,
                 int16_t transaction_version = 0);
  Result<> roll();
  Result<bool> must_roll(uint64_t more, int64_t next_last_offset, int64_t timestamp,
                         int64_t now_ms);
  Segment& active() { return *segments_.rbegin()->second; }
  Result<> delete_segment(int64_t base_offset, int64_t now_ms);
  Result<> expire_segments(int64_t high_watermark, int64_t now_ms);
  Result<> remove_stale_snapshots();
  Result<TimestampOffset> record_at(Segment& segment, const BatchPlace& place, int64_t timestamp);
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string cleaned_path(int64_t base_offset) const {
    return path(file_name(base_offset, ".log.cleaned"));
  }

  Disk& disk_;
  OpenFiles own_files_;
  OpenFiles* open_files_ = &own_files_;
  std::string folder_;
  LogConfig config_;
  Segments segments_;
  int64_t start_offset_ = 0;
  int64_t end_offset_ = 0;
  int64_t recovery_point_ = 0;
  int64_t unflushed_records_ = 0;
  int64_t last_flush_ms_ = 0;
  bool rolled_ = false;         // since the last flush
  bool names_changed_ = false;  // files came since the last flush
  uint64_t truncations_ = 0;
  ProducerState producers_;
  std::map<int64_t, std::string> new_snapshots_;  // not on disk yet
  LeaderEpochs epochs_;
  bool epochs_changed_ = false;
  int64_t cleaned_to_ = 0;
  uint64_t closed_generation_ = 0;
  struct Removal {
    std::string path;
    int64_t due_ms;
  };
  std::vector<Removal> removals_;
};

}  // namespace klamm::storage
