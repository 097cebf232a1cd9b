#pragma once
// The broker as one shard sees it, without sockets or threads: the image, the partitions and
// coordinators that the shard owns, its fetch sessions and timers. Only that shard's thread touches
// it; what belongs to another shard is asked for by a message (`at`, ask_owners).
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/cluster/departed_brokers.h"
#include "broker/cluster/replica_fetchers.h"
#include "broker/cluster/transaction_markers.h"
#include "broker/cluster/transaction_verifier.h"
#include "broker/config/broker_config.h"
#include "broker/coordinator/group_coordinator.h"
#include "broker/coordinator/share_coordinator.h"
#include "broker/coordinator/transaction_coordinator.h"
#include "broker/fetch_sessions.h"
#include "broker/housekeeping.h"
#include "broker/log_cleaner.h"
#include "broker/log_mover.h"
#include "broker/replicas.h"
#include "broker/timers.h"
#include "replication/transport.h"
#include "storage/env/background.h"
#include "storage/env/clock.h"
#include "storage/env/disk.h"

namespace klamm::broker {

class Node;
class Shares;

struct Environment {
  storage::Disk& disk;
  const storage::Clock& clock;
  storage::Random& random;
  storage::Workers& workers;
  size_t cores = 1;
  size_t open_files_max = SIZE_MAX;  // of all segments together
  // Nothing can be served any more; called once, on any thread.
  std::function<void(const std::string& why)> halt = [](const std::string&) {};
  // How a shard calls other nodes.
  std::function<replication::Transport&(size_t shard)> transport =
      [](size_t) -> replication::Transport& {
    static replication::NoTransport none;
    return none;
  };
};

// How shards send each other work. Tasks to one shard from one shard arrive in order.
class Mailboxes {
 public:
  using Task = std::move_only_function<void()>;
  virtual ~Mailboxes() = default;
  virtual void post(size_t shard, Task task) = 0;
};

// The shard that owns the controller's side: metadata changes and everything else of the node.
inline constexpr size_t kControllerShard = 0;

// The node's workers as one shard has them: results come home by its mailbox.
class ShardBackground : public storage::Background {
 public:
  ShardBackground(Node& node, size_t shard) : node_(node), shard_(shard) {}
  std::shared_ptr<Ticket> run(Work work, Done done) override;

 private:
  Node& node_;
  size_t shard_;
};

class Broker {
 public:
  using Task = std::move_only_function<void(Broker&)>;

  Broker(Node& node, size_t shard);
  ~Broker();

  size_t shard() const { return shard_; }
  // The parts of the node that do not change after its start may be asked on any shard.
  Node& node() { return node_; }
  const BrokerConfig& config() const { return config_; }
  const std::string& cluster_id() const;
  const ImagePtr& image() const { return replicas_.image(); }
  Replicas& replicas() { return replicas_; }
  GroupCoordinator& groups() { return groups_; }
  Shares& shares() { return *shares_; }
  TransactionCoordinator& transactions() { return transactions_; }
  TransactionVerifier& verifier() { return verifier_; }
  LogCleaner& cleaner() { return cleaner_; }
  LogMover& mover() { return mover_; }
  Housekeeping& housekeeping() { return housekeeping_; }
  storage::Background& background() { return background_; }
  FetchSessions& fetch_sessions() { return fetch_sessions_; }
  Timers& timers() { return timers_; }
  replication::Transport& transport() { return environment_.transport(shard_); }
  const storage::Clock& clock() const { return environment_.clock; }
  storage::Random& random() { return environment_.random; }

  // Whether a fenced broker is one that clients are still told of.
  bool has_just_departed(int32_t broker) const {
    return departed_.has(broker, clock().monotonic_ms(),
                         config_.number("broker.session.timeout.ms") / 2);
  }

  // Does the task with the broker of that shard, on its thread: at once when it is this one. The
  // other shard knows at least the metadata that this one knows by then.
  void at(size_t shard, Task task);
  // Does the task on this shard, after what is being done there now.
  void soon(Task task);
  // The shard of a partition of a topic; this one when there is no such topic.
  size_t owner(const std::string& topic, int32_t partition) const;
  size_t owner(const Uuid& topic_id, int32_t partition) const;
  // Does the task on the controller's shard.
  void at_controller(std::move_only_function<void(Node&)> task);
  // The shard that coordinates a group; this one when none does.
  size_t group_owner(const std::string& group_id) const;
  // Does the task on the shard that coordinates the group. INVALID_GROUP_ID for an empty id,
  // COORDINATOR_NOT_AVAILABLE or NOT_COORDINATOR when no shard here does; then there is no group
  // shard.
  void with_group(const std::string& group_id,
                  std::move_only_function<void(Result<GroupShard*>, Broker& owner)> task);
  // The same three for the transactions of an id.
  size_t transactions_owner(const std::string& transactional_id) const;
  void with_own_transactions(const std::string& transactional_id,
                             const std::function<void(Result<TransactionShard*>)>& use);
  void with_transactions(
      const std::string& transactional_id,
      std::move_only_function<void(Result<TransactionShard*>, Broker& owner)> task);
  // As with_group, on the very shard that coordinates it.
  void with_own_group(const std::string& group_id,
                      const std::function<void(Result<GroupShard*>)>& use);
  std::vector<size_t> all_shards() const;

  // Tells the operator of an error of the disk, once in a while.
  void warn_of_storage(const Error& error);

  // Takes over the first image, with the shard's share of what was found in the directories.
  void load(const ImagePtr& image, Homes homes);
  // Takes over a newer image.
  void follow(const ImagePtr& image);
  // Begins to follow leaders, and the shard's part of the recurring work.
  void start_background();

 private:
  GroupSurroundings surroundings_of_groups();
  void note_placed(const storage::TopicPartition& id, const Uuid& directory);
  void check_isrs();
  void follow_config(const replication::MetadataImage& image);

  Node& node_;
  size_t shard_;
  Environment environment_;
  BrokerConfig config_;  // with what is set at run time
  ShardBackground background_;
  Timers timers_;
  DepartedBrokers departed_;
  Replicas replicas_;
  LogCleaner cleaner_;
  LogMover mover_;
  Housekeeping housekeeping_;
  ReplicaFetchers fetchers_;
  GroupCoordinator groups_;
  TransactionMarkers markers_;
  TransactionCoordinator transactions_;
  TransactionVerifier verifier_;
  FetchSessions fetch_sessions_;
  std::unique_ptr<Shares> shares_;
  int64_t quiet_until_ms_ = 0;  // about errors of the disk
};

inline bool is_internal(const std::string& topic) {
  return topic == kOffsetsTopic || topic == kTransactionsTopic || topic == kShareTopic;
}

}  // namespace klamm::broker
