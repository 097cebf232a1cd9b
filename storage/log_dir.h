#pragma once
// One directory of log.dirs: its identity, its lock, its checkpoints and the mark of a clean stop
// (FORMAT.md).
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/base/uuid.h"
#include "storage/checkpoint.h"
#include "storage/env/clock.h"
#include "storage/env/disk.h"
#include "storage/env/guarded_disk.h"

namespace klamm::storage {

struct LogDirIdentity {
  std::string cluster_id;
  int32_t node_id = 1;
  std::optional<protocol::Uuid> directory_id{};  // of a new directory; else it gets a random one
};

// A directory `<topic>-<partition>` found on opening.
struct FoundPartition {
  TopicPartition id;
  std::string folder;
  std::optional<protocol::Uuid> topic_id;  // from partition.metadata
  bool is_future = false;                  // a copy that was being made (LogMove)
};

class LogDir {
 public:
  // Locks the directory and reads or, when there is none, writes meta.properties. With
  // `wanted.cluster_id` empty the directory's own id is taken; a new directory needs one. Errors:
  // KAFKA_STORAGE_ERROR (locked, unreadable), INCONSISTENT_CLUSTER_ID when the directory belongs to
  // another cluster or node.
  static Result<std::unique_ptr<LogDir>> open(Disk& disk, Random& random, std::string path,
                                              const LogDirIdentity& wanted);

  const std::string& path() const { return path_; }
  // The disk for everything in this directory. Once it has failed the directory is offline.
  GuardedDisk& disk() { return disk_; }
  bool is_offline() const { return disk_.failed(); }
  const LogDirIdentity& identity() const { return identity_; }
  const protocol::Uuid& directory_id() const { return directory_id_; }
  // The last stop was clean. The mark is removed on opening, so that a crash from here on is seen.
  bool was_clean() const { return was_clean_; }
  // The broker epoch that the clean stop recorded, -1 for none.
  int64_t last_broker_epoch() const { return last_broker_epoch_; }

  // Offsets that the last checkpoints hold; 0 for partitions that they do not name.
  int64_t recovery_point(const TopicPartition& id) const { return lookup(recovery_points_, id); }
  int64_t log_start_offset(const TopicPartition& id) const { return lookup(start_offsets_, id); }
  int64_t high_watermark(const TopicPartition& id) const { return lookup(high_watermarks_, id); }
  int64_t cleaned_to(const TopicPartition& id) const { return lookup(cleaned_, id); }

  // All partition directories but the metadata log's. Those that end in -delete are removed on the
  // way.
  Result<std::vector<FoundPartition>> partitions();
  std::string folder_of(const TopicPartition& id) const { return path_ + "/" + id.directory(); }
  // Where a copy is made that is to replace a log in another directory.
  std::string future_folder(const TopicPartition& id, Random& random) const {
    return named(id, random, "-future");
  }
  // Renames a partition's folder for deletion and returns its new path.
  Result<std::string> mark_deleted(const TopicPartition& id, Random& random);
  // The same for the folder of a partition that has no replica here, which is kept for its owner to
  // look at. Nobody reads it again.
  Result<std::string> mark_stray(const TopicPartition& id, Random& random);

  struct Offsets {
    OffsetCheckpoint recovery_points, start_offsets, high_watermarks, cleaned;
  };
  Result<> store_checkpoints(const Offsets& offsets);
  Result<> mark_clean(int64_t broker_epoch);

 private:
  LogDir(Disk& disk, std::string path) : disk_(disk), path_(std::move(path)) {}
  static int64_t lookup(const OffsetCheckpoint& offsets, const TopicPartition& id) {
    const auto found = offsets.find(id);
    return found == offsets.end() ? 0 : found->second;
  }
  Result<std::string> mark(const TopicPartition& id, Random& random, const char* suffix);
  std::string named(const TopicPartition& id, Random& random, const char* suffix) const;
  Result<> load_identity(Random& random, const LogDirIdentity& wanted);
  Result<> write_identity(Random& random);
  Result<OffsetCheckpoint> load_offsets(const char* name);
  std::string file(const char* name) const { return path_ + "/" + name; }

  GuardedDisk disk_;
  std::string path_;
  std::unique_ptr<DiskLock> lock_;
  LogDirIdentity identity_;
  protocol::Uuid directory_id_;
  bool was_clean_ = false;
  int64_t last_broker_epoch_ = -1;
  OffsetCheckpoint recovery_points_, start_offsets_, high_watermarks_, cleaned_;
};

// A new random id.
protocol::Uuid new_uuid(Random& random);

}  // namespace klamm::storage
