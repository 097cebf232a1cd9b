#pragma once
// The share partitions whose leaders belong to one shard of the node: loaded when first asked for,
// kept by the share coordinator, dropped when the partition is led elsewhere or in another epoch.
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/share/persister.h"
#include "broker/share/share_partition.h"
#include "broker/timers.h"
#include "protocol/base/bytes.h"
#include "replication/partition/partition.h"

namespace klamm::broker {

// What one fetch gets of one partition.
struct ShareReading {
  ErrorCode error = ErrorCode::kNone;
  std::string why;
  protocol::Payload records;  // whole batches around all that was acquired
  std::vector<Acquired> acquired;
  int64_t count() const;
};

class SharePartitions {
 public:
  SharePartitions(Broker& broker, SharePersister& persister)
      : broker_(broker), persister_(persister) {}

  // Acquires what there is. When that is nothing, `watcher` hears of news (null: need not).
  ShareReading read(const SharePartitionKey& key, const AcquireTerms& terms, int64_t bytes_max,
                    const std::weak_ptr<replication::Watcher>& watcher);
  // UNKNOWN_TOPIC_OR_PARTITION when nothing was ever given out here, NOT_LEADER_OR_FOLLOWER, or
  // what SharePartition::acknowledge or the persister says.
  void acknowledge(const SharePartitionKey& key, const std::string& member_id,
                   const std::vector<Acknowledgement>& acknowledgements,
                   std::function<void(Result<>)> done);
  // Gives back what a member has that ends its session. When nobody has anything, all is read anew
  // for the next one: the group may have been told to begin elsewhere.
  void release(const SharePartitionKey& key, const std::string& member_id,
               std::function<void(Result<>)> done);
  // Leaders have changed.
  void drop_lost();

 private:
  struct Hosted {
    explicit Hosted(int32_t epoch) : leader_epoch(epoch) {}
    int32_t leader_epoch;
    int32_t state_epoch = 0;
    std::optional<SharePartition> partition;  // once it is loaded
    std::optional<Error> failure;             // it could not be; told once
    std::vector<std::weak_ptr<replication::Watcher>> watchers;
    std::optional<int64_t> armed_for;
    Timers::Id timer;
  };
  using HostedPtr = std::shared_ptr<Hosted>;

  Result<HostedPtr> find(const SharePartitionKey& key, bool create);
  void load(const SharePartitionKey& key, const HostedPtr& hosted);
  void loaded(const SharePartitionKey& key, Hosted& hosted,
              const Result<SharePartitionState>& state);
  Result<int64_t> first_offset(const SharePartitionKey& key, int64_t kept);
  Result<ShareReading> acquire(const SharePartitionKey& key, SharePartition& shared,
                               const AcquireTerms& terms, int64_t bytes_max);
  void keep(const SharePartitionKey& key, const HostedPtr& hosted, const ShareChange& change,
            std::function<void(Result<>)> done);
  void arm(const SharePartitionKey& key, const HostedPtr& hosted);
  void drop(const SharePartitionKey& key);
  static void notify(Hosted& hosted);

  Broker& broker_;
  SharePersister& persister_;
  std::map<SharePartitionKey, HostedPtr> hosted_;
};

// What is configured for a share group; `by` is the broker whose defaults hold.
ShareLimits share_limits(const Broker& by, const std::string& group_id);

}  // namespace klamm::broker
