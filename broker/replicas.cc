#include "broker/replicas.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "protocol/base/check.h"

namespace klamm::broker {

using replication::ConfigResource;
using replication::PartitionImage;
using replication::TopicImage;
using storage::LogDir;
using storage::TopicPartition;

namespace {

constexpr int64_t kRemoveFolderDelayMs = 60'000;

}  // namespace

size_t owning_shard(const Uuid& topic_id, int32_t partition, size_t shards) {
  return shards == 1 ? 0 : (std::hash<Uuid>()(topic_id) + static_cast<size_t>(partition)) % shards;
}

void Replicas::load(const ImagePtr& image, Homes homes) {
  image_ = image;
  homes_ = std::move(homes);
  if (std::all_of(dirs_.begin(), dirs_.end(), [](const auto& dir) { return dir->was_clean(); })) {
    return;
  }
  size_t done = 0;
  for (const auto& [id, dir] : Homes(homes_)) {
    if (auto opened = find(id.topic, id.partition); !opened) {
      spdlog::error("cannot open {}: {}", id.directory(), opened.error().why);
    }
    if (++done % 500 == 0) {
      spdlog::info("recovered {} of {} logs after an unclean stop", done, homes_.size());
    }
  }
}

LogDir* Replicas::dir_by_id(const Uuid& id) {
  const auto found = std::find_if(dirs_.begin(), dirs_.end(),
                                  [&](const auto& dir) { return dir->directory_id() == id; });
  return found == dirs_.end() ? nullptr : found->get();
}

Result<Partition*> Replicas::find(const std::string& topic, int32_t partition) {
  const auto found = image_->topic(topic);
  if (found == nullptr) {
    return fail(ErrorCode::kUnknownTopicOrPartition, "there is no topic " + topic);
  }
  return find(*found, partition);
}

Result<Partition*> Replicas::find(const Uuid& topic_id, int32_t partition) {
  const auto found = image_->topic(topic_id);
  if (found == nullptr) {
    return fail(ErrorCode::kUnknownTopicId, "there is no topic with this id");
  }
  return find(*found, partition);
}

Result<Partition*> Replicas::find(const TopicImage& topic, int32_t partition) {
  if (const auto open = partitions_.find({topic.id, partition}); open != partitions_.end()) {
    return open->second.get();
  }
  const auto image = topic.partitions.find(partition);
  if (image == topic.partitions.end()) {
    return fail(ErrorCode::kUnknownTopicOrPartition,
                "topic " + topic.name + " has no partition " + std::to_string(partition));
  }
  CHECK_INVARIANT(owns(topic.id, partition));
  if (image->second.leader != config_.node_id()) {
    return fail(ErrorCode::kNotLeaderOrFollower, "this broker does not lead the partition");
  }
  return open(topic, partition, image->second);
}

Result<Partition*> Replicas::open(const TopicImage& topic, int32_t partition,
                                  const PartitionImage& image) {
  const TopicPartition id{topic.name, partition};
  LogDir*& home = homes_[id];
  if (home == nullptr) {
    LogDir* wanted = image.directories.empty() ? nullptr : dir_by_id(image.directories.front());
    home = wanted == nullptr ? dirs_.front().get() : wanted;
  }
  const std::string folder = home->folder_of(id);
  if (!disk_.exists(folder + "/partition.metadata")) {
    TRY_VOID(disk_.make_dirs(folder));
    TRY_VOID(disk_.replace_file(folder + "/partition.metadata",
                                storage::format_partition_metadata(topic.id)));
    TRY_VOID(disk_.sync_dir(home->path()));
  }
  const auto config =
      resolve_log_config(config_, image_->config(ConfigResource::kTopic, topic.name));
  TRY(auto log, storage::Log::open(disk_, folder, config,
                                   {.recovery_point = home->recovery_point(id),
                                    .log_start_offset = home->log_start_offset(id),
                                    .cleaned_to = home->cleaned_to(id),
                                    .clean = home->was_clean(),
                                    .now_ms = clock_.wall_ms()}));
  auto opened = std::make_unique<Partition>(id, topic.id, std::move(log));
  opened->update(image);
  return (partitions_[{topic.id, partition}] = std::move(opened)).get();
}

void Replicas::follow(const ImagePtr& before, const ImagePtr& now) {
  image_ = now;
  if (before->topics != now->topics) {
    for (const auto& [id, topic] : before->topics->by_id) {
      if (!now->topics->by_id.contains(id)) {
        remove_topic(*topic);
      }
    }
    for (auto& [key, partition] : partitions_) {
      const PartitionImage* image = now->partition(partition->id().topic, key.partition);
      if (image != nullptr) {
        partition->update(*image);
      }
    }
  }
  if (before->configs != now->configs) {
    for (auto& [key, partition] : partitions_) {
      partition->log().set_config(
          resolve_log_config(config_, now->config(ConfigResource::kTopic, partition->id().topic)));
    }
  }
}

void Replicas::remove_topic(const TopicImage& topic) {
  for (const auto& [index, unused] : topic.partitions) {
    const TopicPartition id{topic.name, index};
    if (const auto open = partitions_.find({topic.id, index}); open != partitions_.end()) {
      open->second->notify_all();
      partitions_.erase(open);
    }
    const auto home = homes_.find(id);
    if (home == homes_.end()) {
      continue;
    }
    if (disk_.exists(home->second->folder_of(id))) {
      if (auto marked = home->second->mark_deleted(id, random_)) {
        removals_.push_back({*marked, clock_.monotonic_ms() + kRemoveFolderDelayMs});
      } else {
        spdlog::error("cannot delete {}: {}", id.directory(), marked.error().why);
      }
    }
    homes_.erase(home);
  }
}

Partition* Replicas::find_open(const Uuid& topic_id, int32_t partition) {
  const auto open = partitions_.find({topic_id, partition});
  return open == partitions_.end() ? nullptr : open->second.get();
}

std::vector<Partition*> Replicas::compacted() {
  std::vector<Partition*> found;
  for (const auto& [name, topic] : image_->topics->by_name) {
    const auto config = resolve_log_config(config_, image_->config(ConfigResource::kTopic, name));
    for (const auto& [index, unused] : topic->partitions) {
      if (!config.cleanup_compact || !owns(topic->id, index)) {
        continue;
      }
      if (const auto partition = find(*topic, index)) {
        found.push_back(*partition);
      }
    }
  }
  return found;
}

void Replicas::housekeep() {
  const int64_t expiry = config_.number("producer.id.expiration.ms");
  for (auto& [key, partition] : partitions_) {
    if (auto done =
            partition->log().housekeep(partition->high_watermark(), clock_.wall_ms(), expiry);
        !done) {
      spdlog::error("housekeeping of {}: {}", partition->id().directory(), done.error().why);
    }
  }
  std::erase_if(removals_, [&](const Removal& removal) {
    return removal.due_ms <= clock_.monotonic_ms() && disk_.remove_tree(removal.folder).has_value();
  });
}

DirOffsets Replicas::offsets() const {
  DirOffsets offsets;
  for (const auto& [id, dir] : homes_) {
    // A log that was not opened is where the last checkpoint left it.
    auto& of_dir = offsets[dir];
    of_dir.recovery_points[id] = dir->recovery_point(id);
    of_dir.high_watermarks[id] = dir->high_watermark(id);
    if (const int64_t cleaned = dir->cleaned_to(id); cleaned > 0) {
      of_dir.cleaned[id] = cleaned;
    }
    if (const int64_t start = dir->log_start_offset(id); start > 0) {
      of_dir.start_offsets[id] = start;
    }
  }
  for (const auto& [key, partition] : partitions_) {
    auto& of_dir = offsets[homes_.at(partition->id())];
    const storage::Log& log = partition->log();
    of_dir.recovery_points[partition->id()] = log.recovery_point();
    of_dir.high_watermarks[partition->id()] = partition->high_watermark();
    if (log.config().cleanup_compact && log.cleaned_to() > 0) {
      of_dir.cleaned[partition->id()] = log.cleaned_to();
    }
    if (log.start_offset() > 0) {
      of_dir.start_offsets[partition->id()] = log.start_offset();
    }
  }
  return offsets;
}

Result<> Replicas::close() {
  for (auto& [key, partition] : partitions_) {
    TRY_VOID(partition->log().close());
  }
  return {};
}

}  // namespace klamm::broker
