#pragma once
// The whole node: log directories, the metadata quorum, one Broker for each shard. Made before the
// shards run and closed after they stopped; in between only the controller's shard calls it.
#include <memory>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "replication/controller/elections.h"
#include "replication/controller/topics.h"
#include "replication/raft/quorum.h"
#include "storage/log_dir.h"

namespace klamm::broker {

class Node {
 public:
  // Opens the log directories (formatting empty ones), takes the metadata quorum, registers this
  // node and opens its partitions. `cluster_id` empty: that of the directories, else a new one.
  // The number of shards is that of `klamm.shards`.
  static Result<std::unique_ptr<Node>> open(Environment environment, BrokerConfig config,
                                            const std::string& cluster_id);

  const Environment& environment() const { return environment_; }
  const BrokerConfig& config() const { return config_; }
  const std::string& cluster_id() const { return cluster_id_; }
  std::vector<std::unique_ptr<storage::LogDir>>& dirs() { return dirs_; }
  size_t shard_count() const { return shard_count_; }
  Broker& shard(size_t index) { return *shards_[index]; }
  const ImagePtr& image() const { return quorum_->image(); }
  // Needed before shards may talk to each other; not owned.
  void use(Mailboxes& mailboxes) { mailboxes_ = &mailboxes; }
  Mailboxes& mailboxes() { return *mailboxes_; }

  // Appends metadata records. When it returns the controller's shard has followed and the others
  // have the image in their mailboxes.
  Result<> commit(const std::vector<protocol::Bytes>& records);
  // Creates a topic with Kafka's error codes; internal topics get their own settings.
  Result<replication::TopicChange> create_topic(const replication::NewTopic& topic,
                                                bool validate_only);
  // Creates `name` (or an internal topic) if that is allowed; true when the topic exists
  // afterwards.
  bool ensure_topic(const std::string& name);
  replication::TopicDefaults topic_defaults() const;
  Result<int64_t> next_producer_id();
  // A log lies in another directory now.
  void note_moved(const storage::TopicPartition& id, const Uuid& directory);
  // The directory of this path; null when log.dirs does not name it or it was offline at the start.
  storage::LogDir* dir_of(const std::string& path);
  // Directories that could not be opened at the start.
  const std::vector<std::string>& missing_dirs() const { return missing_dirs_; }

  // Arms the recurring work: retention, checkpoints, offset expiry.
  void start_background();
  // Asks every shard for its offsets and writes the checkpoints of all directories, on another
  // thread. Who asks while that is under way gets a round of his own after it.
  void write_checkpoints(std::move_only_function<void(const Result<>&)> done);
  // The same before long: recovery points have moved by a segment or more, which the next start
  // need not verify.
  void checkpoint_soon();
  // For a clean stop.
  Result<> close();

 private:
  Node(Environment environment, BrokerConfig config)
      : environment_(std::move(environment)), config_(std::move(config)) {}
  Result<> open_dirs(const std::string& cluster_id);
  Result<> load_shards();
  Result<> adopt(const storage::FoundPartition& found, storage::LogDir& dir,
                 std::vector<Homes>& homes);
  Result<> register_node();
  replication::Directories online_dirs() const;
  void on_dir_failure(const storage::LogDir& dir, const Error& error);
  std::map<Uuid, size_t> directory_load() const;
  void publish(const ImagePtr& image);
  void begin_checkpoints();
  static Result<> store(const DirOffsets& offsets);

  Environment environment_;
  BrokerConfig config_;
  std::string cluster_id_;
  size_t shard_count_ = 1;
  std::vector<std::unique_ptr<storage::LogDir>> dirs_;
  std::vector<std::string> missing_dirs_;
  std::unique_ptr<replication::Quorum> quorum_;
  std::vector<std::unique_ptr<Broker>> shards_;
  Mailboxes* mailboxes_ = nullptr;
  std::vector<std::move_only_function<void(const Result<>&)>> checkpoints_wanted_;
  bool checkpointing_ = false;
  bool checkpoint_armed_ = false;
  int64_t broker_epoch_ = -1;
  int64_t producer_id_ = 0;
  int64_t producer_id_end_ = 0;
};

}  // namespace klamm::broker
