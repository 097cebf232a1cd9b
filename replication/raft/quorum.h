#pragma once
// The metadata quorum of one voter: the log `__cluster_metadata-0` with its election state and
// snapshots, and the image that replaying it gives. Every start is an election that this node wins;
// every append is committed once it is on the medium. Blocking; called by one shard.
#include <functional>
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
  std::string path(const std::string& name) const { return options_.folder + "/" + name; }

  storage::Disk& disk_;
  const storage::Clock& clock_;
  QuorumOptions options_;
  std::unique_ptr<storage::Log> log_;
  ImagePtr image_ = std::make_shared<MetadataImage>();
  int32_t epoch_ = 0;
  std::function<void(const ImagePtr&, const ImagePtr&)> observer_;
};

}  // namespace klamm::replication
