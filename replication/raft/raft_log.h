#pragma once
// The metadata log on disk: `__cluster_metadata-0` with its snapshots (KIP-630), the epochs that
// wrote it and the voter sets that stand in it. What is appended is on the medium when the call
// returns. Blocking; called by one shard.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/records/batch.h"
#include "replication/raft/voters.h"
#include "storage/env/clock.h"
#include "storage/env/disk.h"
#include "storage/log.h"

namespace klamm::replication {

using protocol::Bytes;

// Control records of the metadata log.
inline constexpr int16_t kLeaderChange = 2;
inline constexpr int16_t kSnapshotHeader = 3;
inline constexpr int16_t kSnapshotFooter = 4;
inline constexpr int16_t kKRaftVersion = 5;
inline constexpr int16_t kVoters = 6;

// One control record as a batch of its own.
template <class R>
Bytes control_batch(int16_t type, const R& record, int64_t base_offset, int32_t epoch,
                    int64_t now_ms);
Bytes control_batch(std::span<const uint8_t> key, std::span<const uint8_t> value,
                    int64_t base_offset, int32_t epoch, int64_t now_ms);
// Control records that hold together or not at all: key and value of each.
Bytes control_batch(const std::vector<std::pair<Bytes, Bytes>>& records, int32_t epoch,
                    int64_t now_ms);
Bytes data_batch(const std::vector<Bytes>& records, int64_t base_offset, int32_t epoch,
                 int64_t now_ms);

// A snapshot holds everything below `end_offset`, whose last record `epoch` wrote.
struct SnapshotId {
  int64_t end_offset = -1;
  int32_t epoch = -1;
  auto operator<=>(const SnapshotId&) const = default;
  std::string file_name() const;
  static std::optional<SnapshotId> parse(const std::string& file_name);
};

struct RaftLogOptions {
  std::string folder;  // .../__cluster_metadata-0
  bool clean = false;  // the directory was closed cleanly
  int64_t segment_bytes = 1 << 30;
  int64_t retention_bytes = 100 << 20;
  int64_t retention_ms = 604'800'000;
};

class RaftLog {
 public:
  static Result<std::unique_ptr<RaftLog>> open(storage::Disk& disk, const storage::Clock& clock,
                                               const RaftLogOptions& options);

  int64_t start_offset() const { return log_->start_offset(); }
  int64_t end_offset() const { return log_->end_offset(); }
  // Of the last record, or of the snapshot behind which the log begins; 0 for neither.
  int32_t last_epoch() const;
  // The epoch that wrote the record at `offset`.
  int32_t epoch_at(int64_t offset) const;
  // The largest epoch <= `epoch` that the log knows, and where it ends; {-1, -1} for none.
  storage::EpochStart end_of(int32_t epoch) const;

  // Gives the batch its offset and the epoch, and writes it.
  Result<int64_t> append(const Bytes& batch, int32_t epoch);
  // Writes the whole batches that a leader sent; the first must begin at the log's end.
  // CORRUPT_MESSAGE otherwise, and for damaged ones.
  Result<> append_fetched(const Bytes& records);
  Result<> truncate_to(int64_t offset);
  // Whole batches from `offset` on as they are, the last one possibly cut.
  Result<protocol::Payload> read(int64_t offset, size_t size_max);
  Result<> visit(int64_t from, const std::function<bool(const protocol::BatchView&)>& visit) {
    return log_->visit(from, visit);
  }

  // The voter set in force, committed or not; nullptr when the log has none.
  const VoterSet* voters() const { return voters_.empty() ? nullptr : &voters_.rbegin()->second; }
  // The offset of its record, -1 for none.
  int64_t voters_offset() const { return voters_.empty() ? -1 : voters_.rbegin()->first; }
  int16_t kraft_version() const { return voters_.empty() ? 0 : 1; }
  // The control records that say who votes as of `offset`, for a snapshot: key and value.
  std::vector<std::pair<Bytes, Bytes>> voter_records(int64_t offset) const;

  // The newest snapshot with something in it.
  const std::optional<SnapshotId>& snapshot() const { return snapshot_; }
  Result<std::string> read_snapshot(const SnapshotId& id);
  Result<> visit_snapshot(const SnapshotId& id,
                          const std::function<Result<>(const protocol::BatchView&)>& visit);
  Result<> write_snapshot(const SnapshotId& id, std::string_view content);
  // Forgets the log, which now begins behind the newest snapshot.
  Result<> begin_behind_snapshot();
  // The snapshot 0-0 of a new directory, which says what the first leader writes.
  Result<> format(std::string_view bootstrap);
  bool is_formatted() const;
  // Writes partition.metadata where it is missing.
  Result<> mark();
  Result<> clean_up(int64_t committed);
  Result<> close() { return log_->close(); }

 private:
  RaftLog(storage::Disk& disk, const storage::Clock& clock, const RaftLogOptions& options)
      : disk_(disk), clock_(clock), options_(options) {}
  Result<> load();
  void note_control(const protocol::BatchView& batch);
  std::string path(const std::string& name) const { return options_.folder + "/" + name; }

  storage::Disk& disk_;
  const storage::Clock& clock_;
  RaftLogOptions options_;
  std::unique_ptr<storage::Log> log_;
  std::optional<SnapshotId> snapshot_;
  std::map<int64_t, VoterSet> voters_;  // by the offset of their record
  std::optional<std::pair<Bytes, Bytes>> kraft_version_record_;
};

template <class R>
std::pair<Bytes, Bytes> control_record(int16_t type, const R& record) {
  protocol::Writer key;
  key.fixed<int16_t>(0);
  key.fixed(type);
  protocol::Writer value;
  record.encode(value, 0);
  return {key.flatten(), value.flatten()};
}

template <class R>
Bytes control_batch(int16_t type, const R& record, int64_t base_offset, int32_t epoch,
                    int64_t now_ms) {
  const auto [key, value] = control_record(type, record);
  return control_batch(key.span(), value.span(), base_offset, epoch, now_ms);
}

}  // namespace klamm::replication
