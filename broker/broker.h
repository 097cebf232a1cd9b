#pragma once
// The broker as one object, without sockets or threads: metadata, partitions, coordinators,
// sessions and timers. The shard that owns it calls everything here.
#include <memory>
#include <string>
#include <vector>

#include "broker/config/broker_config.h"
#include "broker/coordinator/group_coordinator.h"
#include "broker/fetch_sessions.h"
#include "broker/replicas.h"
#include "broker/timers.h"
#include "replication/controller/topics.h"
#include "replication/raft/quorum.h"
#include "storage/env/clock.h"
#include "storage/env/disk.h"

namespace klamm::broker {

struct Environment {
  storage::Disk& disk;
  const storage::Clock& clock;
  storage::Random& random;
};

class Broker {
 public:
  // Opens the log directories (formatting empty ones), takes the metadata quorum, registers this
  // node and opens its partitions. `cluster_id` empty: that of the directories, else a new one.
  static Result<std::unique_ptr<Broker>> open(Environment environment, BrokerConfig config,
                                              const std::string& cluster_id);

  const BrokerConfig& config() const { return config_; }
  const std::string& cluster_id() const { return cluster_id_; }
  const ImagePtr& image() const { return quorum_->image(); }
  replication::Quorum& quorum() { return *quorum_; }
  Replicas& replicas() { return *replicas_; }
  GroupCoordinator& groups() { return *groups_; }
  FetchSessions& fetch_sessions() { return fetch_sessions_; }
  Timers& timers() { return timers_; }
  const storage::Clock& clock() const { return environment_.clock; }
  storage::Random& random() { return environment_.random; }

  // Appends metadata records; the image and the partitions have followed when it returns.
  Result<> commit(const std::vector<protocol::Bytes>& records);
  // Creates a topic with Kafka's error codes; internal topics get their own settings.
  Result<replication::TopicChange> create_topic(const replication::NewTopic& topic,
                                                bool validate_only);
  // Creates `name` (or an internal topic) if that is allowed; true when the topic exists
  // afterwards.
  bool ensure_topic(const std::string& name);
  replication::TopicDefaults topic_defaults() const;
  Result<int64_t> next_producer_id();

  // Arms the recurring work: retention, checkpoints, offset expiry.
  void start_background();
  // For a clean stop.
  Result<> close();

 private:
  Broker(Environment environment, BrokerConfig config)
      : environment_(environment),
        config_(std::move(config)),
        fetch_sessions_(
            static_cast<size_t>(config_.number("max.incremental.fetch.session.cache.slots"))) {}
  Result<> open_dirs(const std::string& cluster_id);
  Result<> register_node();
  void every(int64_t period_ms, const std::function<void()>& work);

  Environment environment_;
  BrokerConfig config_;
  std::string cluster_id_;
  std::vector<std::unique_ptr<storage::LogDir>> dirs_;
  std::unique_ptr<replication::Quorum> quorum_;
  std::unique_ptr<Replicas> replicas_;
  std::unique_ptr<GroupCoordinator> groups_;
  FetchSessions fetch_sessions_;
  Timers timers_;
  int64_t broker_epoch_ = -1;
  int64_t producer_id_ = 0;
  int64_t producer_id_end_ = 0;
};

inline constexpr const char* kTransactionsTopic = "__transaction_state";
inline constexpr const char* kShareTopic = "__share_group_state";
inline bool is_internal(const std::string& topic) {
  return topic == kOffsetsTopic || topic == kTransactionsTopic || topic == kShareTopic;
}

}  // namespace klamm::broker
