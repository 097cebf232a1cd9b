#pragma once
// The metadata quorum as this node sees it: its part in KRaft, and the image that replaying the
// committed records gives. The leader's controller works on an image that is ahead by what is
// appended but not committed yet. Blocking on the disk; called by one shard.
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "replication/metadata/delta.h"
#include "replication/metadata/image.h"
#include "replication/raft/raft.h"

namespace klamm::replication {

struct QuorumOptions {
  RaftLogOptions log;
  RaftOptions raft;
  // A snapshot is written once as many bytes of records have come since the last one, or after as
  // long when there are any (metadata.log.max...).
  int64_t snapshot_bytes = 20 << 20;
  int64_t snapshot_interval_ms = 3'600'000;
};

class Quorum : private RaftListener {
 public:
  using Committed = std::move_only_function<void(Result<>)>;

  // Opens the metadata log, formatting an empty folder with the features of the release. A voter
  // who is alone leads, in a new epoch, when this returns. KAFKA_STORAGE_ERROR when the disk fails.
  static Result<std::unique_ptr<Quorum>> open(storage::Disk& disk, const storage::Clock& clock,
                                              storage::Random& random, Transport& transport,
                                              const QuorumOptions& options);

  // What `open` does first: makes the folder that of a new cluster, with the voters that are to
  // stand in the log (KIP-853), or none where they are static or others have them.
  static Result<> format(storage::Disk& disk, const storage::Clock& clock,
                         const RaftLogOptions& options, const VoterSet& voters);

  Raft& raft() { return *raft_; }
  const Raft& raft() const { return *raft_; }
  // What is committed.
  const ImagePtr& image() const { return image_; }
  // This node leads and has replayed everything: it may append.
  bool is_active() const { return active_; }
  // With what is appended, where this node is active.
  const ImagePtr& working_image() const { return active_ ? working_image_ : image_; }
  // The offset that the next record will get.
  int64_t end_offset() const { return log_->end_offset(); }

  // Appends the records as one atomic batch. Returns the offset of the first; NOT_CONTROLLER where
  // this node is not active, another error for records that do not apply. An empty list changes
  // nothing.
  Result<int64_t> append(const std::vector<Bytes>& records);
  // Tells once everything that is appended by now is committed and the observer has followed, at
  // once if that is so; or NOT_CONTROLLER when this node has lost its leadership, which leaves open
  // what became of it.
  void when_committed(Committed done);

  // Called with every new image, and the one before.
  void observe(std::function<void(const ImagePtr& before, const ImagePtr& now)> observer) {
    observer_ = std::move(observer);
  }
  // Called when this node has become the active controller, or has ceased to be it, or when another
  // leader is known.
  void on_leadership(std::function<void()> told) { on_leadership_ = std::move(told); }
  // Called when nothing can be promised any more.
  void on_fatal(std::function<void(const Error&)> told) { on_fatal_ = std::move(told); }

  // Writes a snapshot of what is committed, and lets go of what it makes needless.
  Result<> write_snapshot();
  // The offset behind the last record of the newest snapshot, 0 for none.
  int64_t snapshot_end() const { return log_->snapshot() ? log_->snapshot()->end_offset : 0; }
  Result<> close() { return log_->close(); }

 private:
  // Appended in this epoch and not committed yet.
  struct Pending {
    int64_t base;
    int64_t end;
    uint64_t size;
    ImagePtr image;
    std::vector<Committed> waiting;
  };

  Quorum(const storage::Clock& clock, const QuorumOptions& options)
      : clock_(clock), options_(options) {}
  Result<> load_snapshot(const SnapshotId& id);
  Result<> replay_to(int64_t end);
  Result<> replay_batch(Delta& delta, const protocol::BatchView& batch);
  void activate();
  void publish(ImagePtr image);
  void take_snapshot_if_due();
  std::string snapshot_content(int64_t now_ms) const;
  void on_committed(int64_t high_watermark) override;
  void on_snapshot(const SnapshotId& id) override;
  void on_role(RaftRole role, int32_t leader, int32_t epoch) override;
  void on_failure(const Error& error) override;

  const storage::Clock& clock_;
  QuorumOptions options_;
  std::unique_ptr<RaftLog> log_;
  std::unique_ptr<ElectionFile> file_;
  std::shared_ptr<Raft> raft_;
  ImagePtr image_ = std::make_shared<MetadataImage>();
  int64_t applied_ = 0;  // the image holds everything below
  bool active_ = false;
  ImagePtr working_image_;
  std::deque<Pending> pending_;
  uint64_t bytes_since_snapshot_ = 0;
  int64_t last_snapshot_ms_ = 0;
  std::optional<Error> failure_;
  std::function<void(const ImagePtr&, const ImagePtr&)> observer_;
  std::function<void()> on_leadership_ = [] {};
  std::function<void(const Error&)> on_fatal_ = [](const Error&) {};
};

}  // namespace klamm::replication
