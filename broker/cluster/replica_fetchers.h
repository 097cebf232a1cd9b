#pragma once
// Keeps the followers of one shard up with their leaders: one fetch session (KIP-227) for each
// broker that leads some of them, asked again as soon as it has answered.
#include <memory>
#include <optional>
#include <set>

#include "broker/cluster/throttle.h"
#include "broker/config/broker_config.h"
#include "broker/replicas.h"
#include "broker/timers.h"
#include "protocol/generated/fetch_request.h"
#include "protocol/generated/fetch_response.h"
#include "replication/transport.h"

namespace klamm::broker {

class ReplicaFetchers {
 public:
  struct Key {
    Uuid topic;
    int32_t partition;
    auto operator<=>(const Key&) const = default;
  };

  ReplicaFetchers(const BrokerConfig& config, Throttle& throttle, Replicas& replicas,
                  replication::Transport& transport, Timers& timers, const storage::Clock& clock,
                  std::function<int64_t()> broker_epoch);
  ~ReplicaFetchers();

  // Follows a metadata change: which partitions are followed, and whom.
  void follow(const ImagePtr& before, const ImagePtr& now);

 private:
  class Fetcher;
  friend class Fetcher;
  void assign(const replication::TopicImage& topic, int32_t partition,
              const replication::PartitionImage* image);
  void set_leader(const Key& key, const storage::TopicPartition& id, int32_t leader);

  const BrokerConfig& config_;
  Throttle& throttle_;
  Replicas& replicas_;
  replication::Transport& transport_;
  Timers& timers_;
  const storage::Clock& clock_;
  std::function<int64_t()> broker_epoch_;
  std::string listener_;
  std::map<Key, int32_t> leaders_;
  std::map<int32_t, std::shared_ptr<Fetcher>> fetchers_;
};

}  // namespace klamm::broker
