#pragma once
// The metadata quorum of one voter: the log `__cluster_metadata-0` with its election state and
// snapshots, and the image that replaying it gives. Every start is an election that this node wins;
// every append is committed once it is on the medium. Blocking; called by one shard.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "replication/metadata/delta.h"
#include "replication/metadata/image.h"
#include "storage/env/clock.h"
#include "storage/env/disk.h"
#include "storage/log.h"

namespace klamm::replication {

struct QuorumOptions {
  std::string folder;  // .../__cluster_metadata-0
  int32_t node_id = 1;
  bool clean = false;  // the directory was closed cleanly
  // A snapshot is written once as many bytes of records have come since the last one, or after as
  // long when there are any (metadata.log.max...); what is behind the newest goes as retention
  // says.
  int64_t snapshot_bytes = 20 << 20;
  int64_t snapshot_interval_ms = 3'600'000;
  int64_t segment_bytes = 1 << 30;
  int64_t retention_bytes = 100 << 20;
  int64_t retention_ms = 604'800'000;
};

class Quorum {
 public:
  // Opens the metadata log, formatting an empty folder with the features of the release, and takes
  // leadership in a new epoch. KAFKA_STORAGE_ERROR when the disk fails or the voters on disk are
  // not this node alone.
  static Result<std::unique_ptr<Quorum>> open(storage::Disk& disk, const storage::Clock& clock,
                                              const QuorumOptions& options);

  const ImagePtr& image() const { return image_; }
  int32_t epoch() const { return epoch_; }
  // The offset that the next record will get.
  int64_t end_offset() const { return log_->end_offset(); }

  // Appends the records as one atomic batch, makes them durable, applies them and tells the
  // observer. Returns the offset of the first. An empty list changes nothing.
  Result<int64_t> append(const std::vector<Bytes>& records);
  // Called with every new image, and the one before.
  void observe(std::function<void(const ImagePtr& before, const ImagePtr& now)> observer) {
    observer_ = std::move(observer);
  }
  // Writes a snapshot of what is committed, and lets go of what it makes needless.
  Result<> write_snapshot();
  // The offset behind the last record of the newest snapshot, 0 for none.
  int64_t snapshot_end() const { return snapshot_end_; }
  Result<> close() { return log_->close(); }

 private:
  Quorum(storage::Disk& disk, const storage::Clock& clock, const QuorumOptions& options)
      : disk_(disk), clock_(clock), options_(options) {}
  Result<> format();
  Result<> elect();
  Result<> replay();
  Result<> replay_snapshot(const std::string& name);
  Result<> replay_batch(Delta& delta, const protocol::BatchView& batch);
  Result<> check_voters(const protocol::RecordView& record);
  Result<> append_leader_change();
  bool snapshot_is_due(int64_t now_ms) const;
  std::string snapshot_content(int64_t now_ms) const;
  Result<> clean_up(int64_t now_ms);
  std::string path(const std::string& name) const { return options_.folder + "/" + name; }

  storage::Disk& disk_;
  const storage::Clock& clock_;
  QuorumOptions options_;
  std::unique_ptr<storage::Log> log_;
  ImagePtr image_ = std::make_shared<MetadataImage>();
  int32_t epoch_ = 0;
  int64_t snapshot_end_ = 0;
  uint64_t bytes_since_snapshot_ = 0;
  int64_t last_snapshot_ms_ = 0;
  // The newest control records that say who votes, by type; a snapshot carries them.
  std::map<int16_t, std::pair<Bytes, Bytes>> voter_records_;
  std::function<void(const ImagePtr&, const ImagePtr&)> observer_;
};

}  // namespace klamm::replication
