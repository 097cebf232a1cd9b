#pragma once
// The replicas that one shard of this node owns: opens, closes, creates and deletes their logs as
// the metadata image says, in one or several log directories.
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/config/broker_config.h"
#include "replication/metadata/image.h"
#include "replication/partition/partition.h"
#include "storage/env/background.h"
#include "storage/env/clock.h"
#include "storage/log_dir.h"
#include "storage/open_files.h"

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
  Replicas(const storage::Clock& clock, storage::Random& random, storage::Background& background,
           const BrokerConfig& config, std::vector<std::unique_ptr<storage::LogDir>>& dirs,
           size_t open_files_max, ShardPlace place)
      : clock_(clock),
        random_(random),
        background_(background),
        config_(config),
        dirs_(dirs),
        open_files_(open_files_max),
        place_(place) {}

  // Takes the shard's share of what was found in the directories. Logs are opened, and after a
  // crash verified, when they are first asked for.
  void load(const ImagePtr& image, Homes homes);
  // Called when a recovery point has moved so far that a checkpoint is worth while.
  void on_synced(std::function<void()> told) { on_synced_ = std::move(told); }
  // Where leaders send what they would have the ISR be.
  void on_proposal(std::function<void(const replication::IsrProposal&)> told) {
    propose_ = std::move(told);
  }
  // Told where a replica lies that the controller has put nowhere, or elsewhere.
  void on_placed(std::function<void(const storage::TopicPartition&, const Uuid& directory)> told) {
    placed_ = std::move(told);
  }
  // This process's registration: what the metadata say of an earlier life makes no leader here.
  void lead_as(const Uuid& incarnation) { incarnation_ = incarnation; }
  const ImagePtr& image() const { return image_; }
  // Follows a metadata change: new topics, deleted ones, changed configurations and leaders.
  void follow(const ImagePtr& now);

  bool owns(const Uuid& topic_id, int32_t partition) const {
    return owning_shard(topic_id, partition, place_.count) == place_.index;
  }
  // For a partition that this shard owns.
  // UNKNOWN_TOPIC_OR_PARTITION / UNKNOWN_TOPIC_ID when the image has no such partition,
  // NOT_LEADER_OR_FOLLOWER when it is not ours, KAFKA_STORAGE_ERROR when its log cannot be opened.
  // The pointer is good until control returns to the event loop.
  // Opens the log if need be, which takes the time that verifying its unsynced segments takes.
  // With `or_follower` a replica that does not lead will do.
  Result<Partition*> find(const std::string& topic, int32_t partition, bool or_follower = false);
  Result<Partition*> find(const Uuid& topic_id, int32_t partition, bool or_follower = false);
  // The same for a replica that need not lead; NOT_LEADER_OR_FOLLOWER when this node has none.
  Result<Partition*> find_replica(const storage::TopicPartition& id);

  // The partition if its log is open, else null.
  Partition* find_open(const Uuid& topic_id, int32_t partition);
  // The partitions of compacted topics that this shard owns, opened.
  std::vector<Partition*> compacted();
  // What lies in the directories for this shard, opened or not.
  std::vector<storage::TopicPartition> known() const;
  // The directory of a known partition, null for another.
  storage::LogDir* home(const storage::TopicPartition& id) const {
    const auto found = homes_.find(id);
    return found == homes_.end() ? nullptr : found->second;
  }
  // Puts a copy of the partition's log, which lies in another directory under some name, in its
  // place. The original goes as that of a deleted topic.
  Result<> take_over(Partition& partition, std::unique_ptr<storage::Log> copy, storage::LogDir& to);
  // Bytes of a log, opened or not.
  int64_t size_of(const storage::TopicPartition& id);
  // Opens a log on another thread. `done` tells whether there was something to do, and why not.
  void open_in_background(const storage::TopicPartition& id,
                          std::move_only_function<void(Result<bool>)> done);
  // Retention and flushing by time for one log. One that was not open is closed again if nothing
  // had to be done to it.
  void housekeep(const storage::TopicPartition& id, int64_t producer_expiry_ms);
  // Removes the folders of deleted topics whose delay is over.
  void remove_deleted();
  // Has leaders propose to do without followers that lag.
  void shrink_isrs();
  // Forgets folders that belong to no topic any more, or to an older one of the name. For a node
  // that has caught up with the metadata.
  void drop_strays();
  // The directory has failed: those who wait for its partitions are told.
  void drop_offline();
  DirOffsets offsets() const;
  // For a clean stop. Returns the directories that must not be called clean.
  std::set<storage::LogDir*> close();

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
  struct Open {
    std::shared_ptr<Partition> partition;
    storage::LogDir* home = nullptr;
  };
  // What it takes to open a log, apart from this object so that another thread can do it.
  struct Opening {
    storage::TopicPartition id;
    Uuid topic_id;
    storage::LogDir* home;
    std::shared_ptr<const replication::ConfigsImage> configs;  // that `config` was made of
    storage::LogConfig config;
    storage::Log::OpenOptions options;
    std::shared_ptr<storage::Background::Ticket> ticket;
    std::unique_ptr<storage::Log> log;
    bool is_unwanted = false;  // removed meanwhile
    Result<> run();
  };

  Result<Partition*> find(const replication::TopicImage& topic, int32_t partition,
                          bool or_follower);
  Result<Partition*> find_replica(const replication::TopicImage& topic, int32_t partition);
  bool is_replica(const replication::PartitionImage& image) const;
  bool is_eligible(int32_t id, int64_t epoch) const;
  bool may_lead(const replication::MetadataImage& image) const;
  void update(Partition& partition, const replication::PartitionImage& image);
  bool has_all_directories() const;
  void update(const replication::TopicImage& topic);
  void remove(const storage::TopicPartition& id, const Uuid& topic_id);
  void leave(const storage::TopicPartition& id);
  bool is_stray(const storage::TopicPartition& id, storage::LogDir& dir) const;
  Result<Opening> prepare(const replication::TopicImage& topic, int32_t partition);
  Result<Partition*> install(const Key& key, Opening& opening, const Result<>& outcome);
  void mark_deleted(const storage::TopicPartition& id, storage::LogDir& home);
  void remove_topic(const replication::TopicImage& topic);
  Result<storage::LogDir*> home_for(const storage::TopicPartition& id,
                                    const replication::PartitionImage& image);

  const storage::Clock& clock_;
  storage::Random& random_;
  storage::Background& background_;
  const BrokerConfig& config_;
  std::vector<std::unique_ptr<storage::LogDir>>& dirs_;
  storage::OpenFiles open_files_;
  ShardPlace place_;
  ImagePtr image_ = std::make_shared<replication::MetadataImage>();
  std::unordered_map<Key, Open, KeyHash> partitions_;
  std::unordered_map<Key, std::shared_ptr<Opening>, KeyHash> opening_;
  Homes homes_;
  // Removed, but still opened or flushed in the background; null in the first case.
  std::map<storage::TopicPartition, std::shared_ptr<Partition>> leaving_;
  std::function<void()> on_synced_ = [] {};
  std::function<void(const replication::IsrProposal&)> propose_ =
      [](const replication::IsrProposal&) {};
  std::function<void(const storage::TopicPartition&, const Uuid&)> placed_ =
      [](const storage::TopicPartition&, const Uuid&) {};
  Uuid incarnation_;
  struct Removal {
    storage::LogDir* dir;
    std::string folder;
    int64_t due_ms;
  };
  std::vector<Removal> removals_;
};

}  // namespace klamm::broker
