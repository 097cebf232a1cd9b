#pragma once
// The whole node: log directories, its part in the metadata quorum, its membership in the cluster,
// one Broker for each shard. Made before the shards run and closed after they stopped; in between
// only the controller's shard calls it.
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "broker/cluster/throttle.h"
#include "replication/controller/topics.h"
#include "storage/log_dir.h"

namespace klamm::protocol {
struct AllocateProducerIdsResponse;
}
namespace klamm::replication {
class Quorum;
}

namespace klamm::broker {

class BrokerWatch;
class Controller;
class ControllerChannel;
class IsrUpdates;
class Lifecycle;
class RaftDriver;

class Node {
 public:
  // Opens the log directories (formatting empty ones), takes its place in the metadata quorum and
  // begins to register. A node that is a quorum by itself is registered, unfenced and leads its
  // partitions when this returns. `cluster_id` empty: that of the directories, else a new one. The
  // number of shards is that of `klamm.shards`.
  static Result<std::unique_ptr<Node>> open(Environment environment, BrokerConfig config,
                                            const std::string& cluster_id);
  ~Node();

  const Environment& environment() const { return environment_; }
  const BrokerConfig& config() const { return config_; }
  const std::string& cluster_id() const { return cluster_id_; }
  std::vector<std::unique_ptr<storage::LogDir>>& dirs() { return dirs_; }
  size_t shard_count() const { return shard_count_; }
  Broker& shard(size_t index) { return *shards_[index]; }
  const ImagePtr& image() const;
  // What the controller's decisions start from: with what is not committed yet.
  const ImagePtr& working_image() const;
  replication::Quorum& quorum() { return *quorum_; }
  RaftDriver& raft_driver() { return *raft_driver_; }
  Controller& controller() { return *controller_; }
  ControllerChannel& channel() { return *channel_; }
  Lifecycle& lifecycle() { return *lifecycle_; }
  // May be asked on any shard.
  bool is_active_controller() const { return is_active_controller_; }
  int32_t controller_id() const { return controller_id_; }
  int64_t broker_epoch() const { return broker_epoch_; }
  // For replicas that catch up here, that followers catch up with, and that change directories.
  Throttle& follower_throttle() { return follower_throttle_; }
  Throttle& leader_throttle() { return leader_throttle_; }
  Throttle& move_throttle() { return move_throttle_; }
  // Needed before shards may talk to each other; not owned.
  void use(Mailboxes& mailboxes) { mailboxes_ = &mailboxes; }
  Mailboxes& mailboxes() { return *mailboxes_; }

  // Appends metadata records, on the active controller.
  Result<> append(const std::vector<protocol::Bytes>& records);
  // Tells once what is appended is committed: the controller's shard has followed by then, and the
  // others have the image in their mailboxes.
  void when_committed(std::move_only_function<void(Result<>)> done);
  // Appends a new topic with Kafka's error codes; internal topics get their own settings.
  Result<replication::TopicChange> create_topic(const replication::NewTopic& topic,
                                                bool validate_only);
  // Has topics (or internal ones) created that are missing. `done` is told when the controller has
  // decided; whether they exist is seen in the image.
  void ensure_topics(const std::vector<std::string>& names, std::move_only_function<void()> done);
  // The same for topics that are described. Tells why one was refused, or an empty string.
  void create_topics(const std::vector<replication::NewTopic>& topics,
                     std::move_only_function<void(const std::string& why)> done);
  replication::TopicDefaults topic_defaults() const;
  void next_producer_id(std::move_only_function<void(Result<int64_t>)> done);
  // A leader on one of the shards proposes an ISR.
  void propose(const replication::IsrProposal& proposal);
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
  // Hands over what others can take; `done` is called when the event loops may end.
  void begin_stop(std::function<void()> done);
  // For a clean stop, after the shards.
  Result<> close();

 private:
  Node(Environment environment, BrokerConfig config);
  Result<> open_dirs(const std::string& cluster_id);
  Result<> load_shards();
  Result<> adopt(const storage::FoundPartition& found, storage::LogDir& dir,
                 std::vector<Homes>& homes);
  Result<> open_quorum();
  void join();
  void on_metadata(const ImagePtr& image);
  void on_leadership();
  void drop_strays();
  std::optional<replication::NewTopic> missing_topic(const std::string& name) const;
  void hand_out_producer_ids(Result<protocol::AllocateProducerIdsResponse> block);
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
  std::unique_ptr<RaftDriver> raft_driver_;
  std::unique_ptr<replication::Quorum> quorum_;
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<ControllerChannel> channel_;
  std::unique_ptr<Lifecycle> lifecycle_;
  std::unique_ptr<IsrUpdates> isr_updates_;
  std::unique_ptr<BrokerWatch> broker_watch_;
  Throttle follower_throttle_{"follower.replication.throttled.rate",
                              "follower.replication.throttled.replicas"};
  Throttle leader_throttle_{"leader.replication.throttled.rate",
                            "leader.replication.throttled.replicas"};
  Throttle move_throttle_{"replica.alter.log.dirs.io.max.bytes.per.second", nullptr};
  std::vector<std::unique_ptr<Broker>> shards_;
  Mailboxes* mailboxes_ = nullptr;
  std::vector<std::move_only_function<void(const Result<>&)>> checkpoints_wanted_;
  bool checkpointing_ = false;
  bool checkpoint_armed_ = false;
  std::atomic<bool> is_active_controller_ = false;
  std::atomic<int32_t> controller_id_ = -1;
  std::atomic<int64_t> broker_epoch_ = -1;
  std::vector<std::move_only_function<void(Result<int64_t>)>> producer_ids_wanted_;
  int64_t producer_id_ = 0;
  int64_t producer_id_end_ = 0;
};

}  // namespace klamm::broker
