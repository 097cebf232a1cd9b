#pragma once
// The partitions that one shard of this node owns: opens, closes, creates and deletes their logs as
// the metadata image says, in one or several log directories.
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/config/broker_config.h"
#include "replication/metadata/image.h"
#include "replication/partition/partition.h"
#include "storage/env/clock.h"
#include "storage/env/disk.h"
#include "storage/log_dir.h"

namespace klamm::broker {

using protocol::Uuid;
using replication::ImagePtr;
using replication::Partition;

// Where the folders of known partitions are, open or not.
using Homes = std::map<storage::TopicPartition, storage::LogDir*>;
// What the checkpoints of the directories are to hold.
using DirOffsets = std::map<storage::LogDir*, storage::LogDir::Offsets>;

// Which shard of how many.
struct ShardPlace {
  size_t index = 0;
  size_t count = 1;
};
// Which of `shards` owns a partition.
size_t owning_shard(const Uuid& topic_id, int32_t partition, size_t shards);

class Replicas {
 public:
  Replicas(storage::Disk& disk, const storage::Clock& clock, storage::Random& random,
           const BrokerConfig& config, std::vector<std::unique_ptr<storage::LogDir>>& dirs,
           ShardPlace place)
      : disk_(disk), clock_(clock), random_(random), config_(config), dirs_(dirs), place_(place) {}

  // Takes the shard's share of what was found in the directories. After a clean stop logs are
  // opened when first asked for; after a crash all are opened and verified now.
  void load(const ImagePtr& image, Homes homes);
  const ImagePtr& image() const { return image_; }
  // Follows a metadata change: new topics, deleted ones, changed configurations and leaders.
  void follow(const ImagePtr& before, const ImagePtr& now);

  bool owns(const Uuid& topic_id, int32_t partition) const {
    return owning_shard(topic_id, partition, place_.count) == place_.index;
  }
  // For a partition that this shard owns.
  // UNKNOWN_TOPIC_OR_PARTITION / UNKNOWN_TOPIC_ID when the image has no such partition,
  // NOT_LEADER_OR_FOLLOWER when it is not ours, KAFKA_STORAGE_ERROR when its log cannot be opened.
  // The pointer is good until control returns to the event loop.
  Result<Partition*> find(const std::string& topic, int32_t partition);
  Result<Partition*> find(const Uuid& topic_id, int32_t partition);

  // The partition if its log is open, else null.
  Partition* find_open(const Uuid& topic_id, int32_t partition);
  // The partitions of compacted topics that this shard owns, opened.
  std::vector<Partition*> compacted();
  // Retention and flushing by time for every open log.
  void housekeep();
  DirOffsets offsets() const;
  // For a clean stop.
  Result<> close();

 private:
  struct Key {
    Uuid topic;
    int32_t partition;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return std::hash<Uuid>()(key.topic) +
             static_cast<size_t>(key.partition) * 0x9E3779B97F4A7C15ull;
    }
  };
  Result<Partition*> find(const replication::TopicImage& topic, int32_t partition);
  Result<Partition*> open(const replication::TopicImage& topic, int32_t partition,
                          const replication::PartitionImage& image);
  void remove_topic(const replication::TopicImage& topic);
  storage::LogDir* dir_by_id(const Uuid& id);

  storage::Disk& disk_;
  const storage::Clock& clock_;
  storage::Random& random_;
  const BrokerConfig& config_;
  std::vector<std::unique_ptr<storage::LogDir>>& dirs_;
  ShardPlace place_;
  ImagePtr image_ = std::make_shared<replication::MetadataImage>();
  std::unordered_map<Key, std::unique_ptr<Partition>, KeyHash> partitions_;
  Homes homes_;
  struct Removal {
    std::string folder;
    int64_t due_ms;
  };
  std::vector<Removal> removals_;
};

}  // namespace klamm::broker
