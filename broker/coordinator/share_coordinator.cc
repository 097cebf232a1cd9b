#include "broker/coordinator/share_coordinator.h"

#include "broker/coordinator/share_state/share_state_shard.h"

namespace klamm::broker {
namespace {

ShareStateConfig read_config(const BrokerConfig& config) {
  return {
      static_cast<int32_t>(config.number("share.coordinator.snapshot.update.records.per.snapshot")),
      config.number("share.coordinator.cold.partition.snapshot.interval.ms")};
}

}  // namespace

ShareCoordinator::ShareCoordinator(const BrokerConfig& config, Replicas& replicas, Timers& timers,
                                   const storage::Clock& clock)
    : config_(std::make_unique<ShareStateConfig>(read_config(config))),
      replicas_(replicas),
      clock_(clock),
      runtime_(kShareTopic, 0, replicas, timers, clock, clock, [this, &replicas](RecordSink& sink) {
        return std::make_unique<ShareStateShard>(sink, *config_,
                                                 [&replicas] { return replicas.image(); });
      }) {}

ShareCoordinator::~ShareCoordinator() = default;

Result<int32_t> ShareCoordinator::partition_of(const std::string& key,
                                               const replication::TopicImage* topic) {
  if (topic == nullptr) {
    return fail(ErrorCode::kCoordinatorNotAvailable, "__share_group_state does not exist yet");
  }
  return coordinator_partition(key, static_cast<int32_t>(topic->partitions.size()));
}

void ShareCoordinator::with(int32_t partition,
                            const std::function<void(Result<ShareStateShard*>)>& use) {
  const auto shard = runtime_.shard(partition);
  if (!shard) {
    return use(std::unexpected(shard.error()));
  }
  use(static_cast<ShareStateShard*>(*shard));
  runtime_.rearm(partition);
}

void ShareCoordinator::prune() {
  for (const int32_t partition : runtime_.hosted_partitions()) {
    with(partition, [&](Result<ShareStateShard*> shard) {
      const auto led = replicas_.find(kShareTopic, partition);
      if (shard && led) {
        const int64_t to = std::min((*shard)->first_needed_offset(), (*led)->high_watermark());
        if (to > (*led)->log().start_offset()) {
          (void)(*led)->log().advance_start(to, clock_.wall_ms());  // tried again the next time
        }
      }
    });
  }
}

}  // namespace klamm::broker
