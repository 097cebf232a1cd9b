#include "storage/log_dir.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace klamm::storage {
namespace {

constexpr const char* kMetaProperties = "meta.properties";
constexpr const char* kCleanMark = ".kafka_cleanshutdown";
constexpr const char* kRecoveryPoints = "recovery-point-offset-checkpoint";
constexpr const char* kStartOffsets = "log-start-offset-checkpoint";
constexpr const char* kHighWatermarks = "replication-offset-checkpoint";
constexpr const char* kCleaned = "cleaner-offset-checkpoint";
constexpr const char* kMetadataFolder = "__cluster_metadata-0/";
constexpr size_t kNameMax = 255;

std::optional<TopicPartition> parse_folder(std::string_view name) {
  const size_t dash = name.rfind('-');
  if (dash == std::string_view::npos || dash == 0 || dash + 1 == name.size()) {
    return std::nullopt;
  }
  TopicPartition id;
  id.topic = name.substr(0, dash);
  const auto digits = name.substr(dash + 1);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), id.partition);
  return error == std::errc() && end == digits.data() + digits.size() ? std::optional(id)
                                                                      : std::nullopt;
}

}  // namespace

protocol::Uuid new_uuid(Random& random) {
  while (true) {
    const uint64_t high = random.next();
    if (const auto id = protocol::Uuid::from_random(high, random.next())) {
      return *id;
    }
  }
}

Result<std::unique_ptr<LogDir>> LogDir::open(Disk& disk, Random& random, std::string path,
                                             const LogDirIdentity& wanted) {
  std::unique_ptr<LogDir> dir(new LogDir(disk, std::move(path)));
  TRY_VOID(dir->disk_.make_dirs(dir->path_));
  TRY(dir->lock_, dir->disk_.lock(dir->file(".lock")));
  TRY_VOID(dir->load_identity(random, wanted));
  if (dir->disk_.exists(dir->file(kCleanMark))) {
    TRY(const std::string text, dir->disk_.read_file(dir->file(kCleanMark)));
    const auto mark = nlohmann::json::parse(text, nullptr, false);
    dir->was_clean_ = true;
    dir->last_broker_epoch_ = mark.is_object() ? mark.value("brokerEpoch", int64_t{-1}) : -1;
    TRY_VOID(dir->disk_.remove(dir->file(kCleanMark)));
    TRY_VOID(dir->disk_.sync_dir(dir->path_));
  }
  TRY(dir->recovery_points_, dir->load_offsets(kRecoveryPoints));
  TRY(dir->start_offsets_, dir->load_offsets(kStartOffsets));
  TRY(dir->high_watermarks_, dir->load_offsets(kHighWatermarks));
  TRY(dir->cleaned_, dir->load_offsets(kCleaned));
  return dir;
}

Result<> LogDir::load_identity(Random& random, const LogDirIdentity& wanted) {
  identity_ = wanted;
  if (!disk_.exists(file(kMetaProperties))) {
    return write_identity(random);
  }
  TRY(const std::string text, disk_.read_file(file(kMetaProperties)));
  Properties properties = parse_properties(text);
  const std::string cluster_id = properties["cluster.id"];
  if (cluster_id.empty()) {
    return fail(ErrorCode::kKafkaStorageError, file(kMetaProperties) + " names no cluster.id");
  }
  if (!wanted.cluster_id.empty() && wanted.cluster_id != cluster_id) {
    return fail(ErrorCode::kInconsistentClusterId,
                "Invalid cluster.id in: " + file(kMetaProperties) + ". Expected " +
                    wanted.cluster_id + ", but read " + cluster_id);
  }
  const std::string node_id = properties["node.id"];
  if (!node_id.empty() && node_id != std::to_string(wanted.node_id)) {
    return fail(ErrorCode::kInconsistentClusterId,
                "Stored node id " + node_id + " doesn't match configured node.id " +
                    std::to_string(wanted.node_id) + " in " + file(kMetaProperties));
  }
  identity_.cluster_id = cluster_id;
  const auto directory_id = protocol::Uuid::parse(properties["directory.id"]);
  if (!directory_id) {
    return write_identity(random);
  }
  directory_id_ = *directory_id;
  return {};
}

Result<> LogDir::write_identity(Random& random) {
  directory_id_ = identity_.directory_id.value_or(new_uuid(random));
  return disk_.replace_file(file(kMetaProperties),
                            "version=1\ncluster.id=" + identity_.cluster_id +
                                "\nnode.id=" + std::to_string(identity_.node_id) +
                                "\ndirectory.id=" + directory_id_.to_string() + "\n");
}

// A checkpoint that is damaged is as good as none: recovery then looks at everything.
Result<OffsetCheckpoint> LogDir::load_offsets(const char* name) {
  if (!disk_.exists(file(name))) {
    return OffsetCheckpoint{};
  }
  TRY(const std::string text, disk_.read_file(file(name)));
  auto offsets = parse_offsets(text);
  return offsets ? std::move(*offsets) : OffsetCheckpoint{};
}

Result<std::vector<FoundPartition>> LogDir::partitions() {
  TRY(const auto names, disk_.list(path_));
  std::vector<FoundPartition> found;
  for (const std::string& name : names) {
    if (!name.ends_with('/') || name == kMetadataFolder) {
      continue;
    }
    const std::string bare = name.substr(0, name.size() - 1);
    if (bare.ends_with("-delete")) {
      TRY_VOID(disk_.remove_tree(path_ + "/" + bare));
      continue;
    }
    const bool is_future = bare.ends_with("-future");
    const auto id = parse_folder(is_future ? bare.substr(0, bare.rfind('.')) : bare);
    if (!id) {
      continue;
    }
    FoundPartition partition{*id, path_ + "/" + bare, std::nullopt, is_future};
    if (disk_.exists(partition.folder + "/partition.metadata")) {
      TRY(const std::string text, disk_.read_file(partition.folder + "/partition.metadata"));
      if (const auto topic_id = parse_partition_metadata(text)) {
        partition.topic_id = *topic_id;
      }
    }
    found.push_back(std::move(partition));
  }
  return found;
}

std::string LogDir::named(const TopicPartition& id, Random& random, const char* suffix) const {
  const std::string tail =
      "-" + std::to_string(id.partition) + "." + new_uuid(random).to_hex() + suffix;
  return path_ + "/" + id.topic.substr(0, kNameMax - tail.size()) + tail;
}

Result<std::string> LogDir::mark(const TopicPartition& id, Random& random, const char* suffix) {
  std::string to = named(id, random, suffix);
  TRY_VOID(disk_.rename(folder_of(id), to));
  return to;
}

Result<std::string> LogDir::mark_deleted(const TopicPartition& id, Random& random) {
  return mark(id, random, "-delete");
}

Result<std::string> LogDir::mark_stray(const TopicPartition& id, Random& random) {
  return mark(id, random, "-stray");
}

Result<> LogDir::store_checkpoints(const Offsets& offsets) {
  TRY_VOID(disk_.replace_file(file(kRecoveryPoints), format_offsets(offsets.recovery_points)));
  TRY_VOID(disk_.replace_file(file(kStartOffsets), format_offsets(offsets.start_offsets)));
  TRY_VOID(disk_.replace_file(file(kCleaned), format_offsets(offsets.cleaned)));
  return disk_.replace_file(file(kHighWatermarks), format_offsets(offsets.high_watermarks));
}

Result<> LogDir::mark_clean(int64_t broker_epoch) {
  return disk_.replace_file(file(kCleanMark),
                            "{\"version\":0,\"brokerEpoch\":" + std::to_string(broker_epoch) + "}");
}

}  // namespace klamm::storage
