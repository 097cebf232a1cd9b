#include "broker/coordinator/group_coordinator.h"

#include "storage/log_dir.h"

namespace klamm::broker {
namespace {

GroupShardConfig read_config(const BrokerConfig& config) {
  GroupShardConfig shard;
  shard.classic.session_timeout_min_ms =
      static_cast<int32_t>(config.number("group.min.session.timeout.ms"));
  shard.classic.session_timeout_max_ms =
      static_cast<int32_t>(config.number("group.max.session.timeout.ms"));
  shard.classic.initial_rebalance_delay_ms =
      static_cast<int32_t>(config.number("group.initial.rebalance.delay.ms"));
  shard.classic.members_max = static_cast<size_t>(config.number("group.max.size"));
  shard.offsets_retention_ms = config.number("offsets.retention.minutes") * 60'000;
  shard.expiry_check_ms = config.number("offsets.retention.check.interval.ms");
  return shard;
}

// Member ids end in a random UUID in its usual text form.
std::string uuid_text(storage::Random& random) {
  const std::string hex = storage::new_uuid(random).to_hex();
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" +
         hex.substr(16, 4) + "-" + hex.substr(20);
}

}  // namespace

GroupCoordinator::GroupCoordinator(const BrokerConfig& config, Replicas& replicas, Timers& timers,
                                   const storage::Clock& clock, storage::Random& random)
    : config_(read_config(config)),
      metadata_size_max_(config.number("offset.metadata.max.bytes")),
      runtime_(kOffsetsTopic, replicas, timers, clock, [this, &random](RecordSink& sink) {
        return std::make_unique<GroupShard>(sink, config_, [&random] { return uuid_text(random); });
      }) {}

Result<int32_t> GroupCoordinator::partition_of(const std::string& group_id,
                                               const replication::TopicImage* topic) {
  if (group_id.empty()) {
    return fail(ErrorCode::kInvalidGroupId, "the group id is empty");
  }
  if (topic == nullptr) {
    return fail(ErrorCode::kCoordinatorNotAvailable, "__consumer_offsets does not exist yet");
  }
  return coordinator_partition(group_id, static_cast<int32_t>(topic->partitions.size()));
}

void GroupCoordinator::with(int32_t partition,
                            const std::function<void(Result<GroupShard*>)>& use) {
  const auto shard = runtime_.shard(partition);
  if (!shard) {
    return use(std::unexpected(shard.error()));
  }
  use(static_cast<GroupShard*>(*shard));
  runtime_.rearm(partition);
}

void GroupCoordinator::for_each(const std::function<void(GroupShard&)>& visit) {
  runtime_.for_each([&](CoordinatorShard& shard) { visit(static_cast<GroupShard&>(shard)); });
}

}  // namespace klamm::broker
