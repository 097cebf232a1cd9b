#pragma once
// Log compaction: of the records of a key only the newest stays, in the offsets that it has. Works
// on closed segments alone, in slices whose size the caller chooses, and stops by itself when the
// segments change under it (retention, truncation). The rules are the reference's: dirty ratio and
// compaction lags say when, `delete.retention.ms` how long a tombstone is seen (KIP-534), the last
// batch of a live producer stays for its sequence numbers, aborted records go, and a transaction's
// marker goes after its records as a tombstone does.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "storage/cleaned_transactions.h"
#include "storage/log.h"

namespace klamm::storage {

class Compaction {
 public:
  // Null when the log has nothing that is worth it. Nothing at or above `stable_end` is touched.
  // `map_bytes_max` bounds the memory for keys (log.cleaner.dedupe.buffer.size); what does not fit
  // waits for the next time.
  static Result<std::unique_ptr<Compaction>> begin(Log& log, int64_t stable_end, int64_t now_ms,
                                                   uint64_t map_bytes_max);
  // Reads about `budget` bytes and does what follows from them. True once there is no more to do.
  // KAFKA_STORAGE_ERROR and the like end it; the log is whole then.
  Result<bool> step(uint64_t budget);
  // A segment that is written and must be on the medium before it takes the place of the old ones;
  // null for none. The next step syncs it, unless somebody has and says so.
  const std::shared_ptr<File>& unsynced() const { return unsynced_; }
  void note_synced() { unsynced_.reset(); }

  // Bytes of segments before and after, so far.
  uint64_t bytes_read() const { return bytes_read_; }
  uint64_t bytes_kept() const { return bytes_kept_; }

 private:
  Compaction(Log& log, int64_t now_ms, uint64_t map_bytes_max)
      : log_(log), now_ms_(now_ms), map_bytes_max_(map_bytes_max) {}
  Result<bool> scan_slice(Segment& segment, uint64_t budget,
                          const std::function<Result<bool>(const protocol::BatchView&)>& visit);
  Result<> read_keys(uint64_t budget);
  Result<> note_keys(const protocol::BatchView& batch);
  void plan_groups();
  Result<> clean(uint64_t budget);
  Result<> clean_batch(const protocol::BatchView& batch);
  Result<> drop(const protocol::BatchView& batch);
  Result<> clean_control(const protocol::BatchView& batch);
  Result<> meet_segment(const Segment& segment);
  Result<> write(std::span<const uint8_t> batch);
  Result<> finish_group();
  bool keeps(const protocol::BatchView& batch, const protocol::RecordView& record) const;
  bool is_last_of_producer(const protocol::BatchView& batch) const;

  Log& log_;
  int64_t now_ms_;
  uint64_t map_bytes_max_;
  uint64_t generation_ = 0;
  bool reading_keys_ = true;
  std::vector<Segment*> dirty_;  // whose keys are read
  size_t next_dirty_ = 0;
  uint64_t position_ = 0;  // in the segment at hand
  int64_t end_ = 0;        // what is below it is cleaned
  std::unordered_map<std::string, int64_t> newest_;
  uint64_t map_bytes_ = 0;
  std::vector<std::vector<Segment*>> groups_;  // each becomes one segment
  size_t next_group_ = 0;
  size_t next_in_group_ = 0;
  CleanedTransactions transactions_;  // of the pass at hand: over the keys, then over the groups
  TxnIndex aborted_;                  // whose markers stay in the segment that is being written
  std::shared_ptr<File> out_;
  std::shared_ptr<File> unsynced_;
  bool group_is_written_ = false;
  uint64_t out_size_ = 0;
  uint64_t bytes_read_ = 0;
  uint64_t bytes_kept_ = 0;
};

}  // namespace klamm::storage
