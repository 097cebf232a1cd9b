#include "broker/coordinator/group_coordinator.h"

#include <algorithm>

#include "broker/config/keys.h"
#include "broker/coordinator/group/group_shard.h"

namespace klamm::broker {
namespace {

bool is_given(const BrokerConfig& config, const char* key) { return !config.settings(key).empty(); }

void read_streams(const BrokerConfig& config, StreamsSettings& streams) {
  const auto number = [&](const char* key) { return static_cast<int32_t>(config.number(key)); };
  streams.session_timeout_ms = number("group.streams.session.timeout.ms");
  if (is_given(config, "group.streams.heartbeat.interval.ms")) {
    streams.heartbeat_interval_ms = number("group.streams.heartbeat.interval.ms");
  }
  if (is_given(config, "group.streams.assignment.interval.ms")) {
    streams.assignment_interval_ms = number("group.streams.assignment.interval.ms");
  }
  streams.initial_rebalance_delay_ms = number("group.streams.initial.rebalance.delay.ms");
  streams.standby_replicas = number("group.streams.num.standby.replicas");
  streams.rack_tags = split_list(config.get("group.streams.rack.aware.assignment.tags"));
  streams.task_offset_interval_ms = number("group.streams.task.offset.interval.ms");
  streams.acceptable_recovery_lag = config.number("group.streams.acceptable.recovery.lag");
  streams.members_max = static_cast<size_t>(config.number("group.streams.max.size"));
}

// Two defaults are not Kafka's: members are told to speak more often, so that a rebalance takes
// less time, and a new target is computed at once. What is configured holds.
void read_newer_protocols(const BrokerConfig& config, GroupShardConfig& shard) {
  constexpr const char* kHeartbeat = "group.consumer.heartbeat.interval.ms";
  constexpr const char* kAssignment = "group.consumer.assignment.interval.ms";
  ConsumerSettings& consumer = shard.consumer;
  consumer.session_timeout_ms =
      static_cast<int32_t>(config.number("group.consumer.session.timeout.ms"));
  if (is_given(config, kHeartbeat)) {
    consumer.heartbeat_interval_ms = static_cast<int32_t>(config.number(kHeartbeat));
  }
  if (is_given(config, kAssignment)) {
    consumer.assignment_interval_ms = static_cast<int32_t>(config.number(kAssignment));
  }
  consumer.regex_refresh_ms = config.number("group.consumer.regex.refresh.interval.ms");
  consumer.members_max = static_cast<size_t>(config.number("group.consumer.max.size"));
  consumer.assignors = split_list(config.get("group.consumer.assignors"));
  ShareGroupSettings& share = shard.share;
  share.session_timeout_ms = static_cast<int32_t>(config.number("group.share.session.timeout.ms"));
  if (is_given(config, "group.share.heartbeat.interval.ms")) {
    share.heartbeat_interval_ms =
        static_cast<int32_t>(config.number("group.share.heartbeat.interval.ms"));
  }
  if (is_given(config, "group.share.assignment.interval.ms")) {
    share.assignment_interval_ms =
        static_cast<int32_t>(config.number("group.share.assignment.interval.ms"));
  }
  share.members_max = static_cast<size_t>(config.number("group.share.max.size"));
  read_streams(config, shard.streams);
  std::string policy = config.get("group.consumer.migration.policy");
  std::ranges::transform(policy, policy.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool both = policy == "bidirectional";
  shard.migration = {.upgrade = both || policy == "upgrade",
                     .downgrade = both || policy == "downgrade"};
}

// The consumers of an application come within moments of each other. A group that was complete
// before the second one came would rebalance only when the first one's heartbeat is due, after 3 s.
constexpr int32_t kGatherMs = 1;

GroupShardConfig read_config(const BrokerConfig& config) {
  GroupShardConfig shard;
  shard.classic.session_timeout_min_ms =
      static_cast<int32_t>(config.number("group.min.session.timeout.ms"));
  shard.classic.session_timeout_max_ms =
      static_cast<int32_t>(config.number("group.max.session.timeout.ms"));
  shard.classic.initial_rebalance_delay_ms =
      static_cast<int32_t>(config.number("group.initial.rebalance.delay.ms"));
  shard.classic.gather_ms = kGatherMs;
  shard.classic.members_max = static_cast<size_t>(config.number("group.max.size"));
  read_newer_protocols(config, shard);
  shard.offsets_retention_ms = config.number("offsets.retention.minutes") * 60'000;
  shard.expiry_check_ms = config.number("offsets.retention.check.interval.ms");
  return shard;
}

}  // namespace

GroupCoordinator::GroupCoordinator(const BrokerConfig& config, Replicas& replicas, Timers& timers,
                                   const storage::Clock& clock, GroupSurroundings surroundings)
    : config_(std::make_unique<GroupShardConfig>(read_config(config))),
      metadata_size_max_(config.number("offset.metadata.max.bytes")),
      protocols_(split_list(config.get("group.coordinator.rebalance.protocols"))),
      clock_(clock),
      runtime_(kOffsetsTopic, 0, replicas, timers, clock, clock_,
               [this, surroundings = std::move(surroundings)](RecordSink& sink) {
                 return std::make_unique<GroupShard>(sink, *config_, surroundings);
               }) {}

GroupCoordinator::~GroupCoordinator() = default;

bool GroupCoordinator::serves(std::string_view protocol) const {
  return std::ranges::find(protocols_, protocol) != protocols_.end();
}

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
