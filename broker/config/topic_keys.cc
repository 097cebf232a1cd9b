#include "broker/config/keys.h"

namespace klamm::broker {
namespace {

using Type = ConfigType;
using Update = ConfigUpdate;

// One row per topic key, with the broker keys that give its default, most specific first.
constexpr ConfigKey kTopicKeys[] = {
    {"cleanup.policy", Type::kList, "delete", "[compact, delete]", Update::kClusterWide, "log.cleanup.policy"},
    {"compression.gzip.level", Type::kInt, "-1", "[1,...,9] or -1", Update::kClusterWide, "compression.gzip.level"},
    {"compression.lz4.level", Type::kInt, "9", "[1,...,17]", Update::kClusterWide, "compression.lz4.level"},
    {"compression.type", Type::kString, "producer", "[uncompressed, zstd, lz4, snappy, gzip, producer]", Update::kClusterWide, "compression.type"},
    {"compression.zstd.level", Type::kInt, "3", "[-131072,...,22]", Update::kClusterWide, "compression.zstd.level"},
    {"delete.retention.ms", Type::kLong, "86400000", "[0,...]", Update::kClusterWide, "log.cleaner.delete.retention.ms"},
    {"errors.deadletterqueue.group.enable", Type::kBoolean, "false", "", Update::kClusterWide, ""},
    {"file.delete.delay.ms", Type::kLong, "60000", "[0,...]", Update::kClusterWide, "log.segment.delete.delay.ms"},
    {"flush.messages", Type::kLong, "9223372036854775807", "[1,...]", Update::kClusterWide, "log.flush.interval.messages"},
    {"flush.ms", Type::kLong, "9223372036854775807", "[0,...]", Update::kClusterWide, "log.flush.interval.ms,log.flush.scheduler.interval.ms"},
    {"follower.replication.throttled.replicas", Type::kList, "", "[partitionId]:[brokerId],[partitionId]:[brokerId],...", Update::kClusterWide, ""},
    {"index.interval.bytes", Type::kInt, "4096", "[0,...]", Update::kClusterWide, "log.index.interval.bytes"},
    {"internal.segment.bytes", Type::kInt, nullptr, "", Update::kClusterWide, "", true},
    {"leader.replication.throttled.replicas", Type::kList, "", "[partitionId]:[brokerId],[partitionId]:[brokerId],...", Update::kClusterWide, ""},
    {"local.retention.bytes", Type::kLong, "-2", "[-2,...]", Update::kClusterWide, "log.local.retention.bytes"},
    {"local.retention.ms", Type::kLong, "-2", "[-2,...]", Update::kClusterWide, "log.local.retention.ms"},
    {"max.compaction.lag.ms", Type::kLong, "9223372036854775807", "[1,...]", Update::kClusterWide, "log.cleaner.max.compaction.lag.ms"},
    {"max.decompressed.message.bytes", Type::kInt, "2147483639", "[1,...,2147483639]", Update::kClusterWide, "max.decompressed.message.bytes"},
    {"max.message.bytes", Type::kInt, "1048588", "[0,...]", Update::kClusterWide, "message.max.bytes"},
    {"message.timestamp.after.max.ms", Type::kLong, "3600000", "[0,...]", Update::kClusterWide, "log.message.timestamp.after.max.ms"},
    {"message.timestamp.before.max.ms", Type::kLong, "9223372036854775807", "[0,...]", Update::kClusterWide, "log.message.timestamp.before.max.ms"},
    {"message.timestamp.type", Type::kString, "CreateTime", "[CreateTime, LogAppendTime]", Update::kClusterWide, "log.message.timestamp.type"},
    {"min.cleanable.dirty.ratio", Type::kDouble, "0.5", "[0,...,1]", Update::kClusterWide, "log.cleaner.min.cleanable.ratio"},
    {"min.compaction.lag.ms", Type::kLong, "0", "[0,...]", Update::kClusterWide, "log.cleaner.min.compaction.lag.ms"},
    {"min.insync.replicas", Type::kInt, "1", "[1,...]", Update::kClusterWide, "min.insync.replicas"},
    {"preallocate", Type::kBoolean, "false", "", Update::kClusterWide, "log.preallocate"},
    {"remote.copy.lag.bytes", Type::kLong, "-1", "[-1,...]", Update::kClusterWide, "log.remote.copy.lag.bytes"},
    {"remote.copy.lag.ms", Type::kLong, "0", "[-1,...]", Update::kClusterWide, "log.remote.copy.lag.ms"},
    {"remote.log.copy.disable", Type::kBoolean, "false", "", Update::kClusterWide, ""},
    {"remote.log.delete.on.disable", Type::kBoolean, "false", "", Update::kClusterWide, ""},
    {"remote.storage.enable", Type::kBoolean, "false", "", Update::kClusterWide, ""},
    {"retention.bytes", Type::kLong, "-1", "", Update::kClusterWide, "log.retention.bytes"},
    {"retention.ms", Type::kLong, "604800000", "[-1,...]", Update::kClusterWide, "log.retention.ms,log.retention.minutes,log.retention.hours"},
    {"segment.bytes", Type::kInt, "1073741824", "[1048576,...]", Update::kClusterWide, "log.segment.bytes"},
    {"segment.index.bytes", Type::kInt, "10485760", "[4,...]", Update::kClusterWide, "log.index.size.max.bytes"},
    {"segment.jitter.ms", Type::kLong, "0", "[0,...]", Update::kClusterWide, "log.roll.jitter.ms,log.roll.jitter.hours"},
    {"segment.ms", Type::kLong, "604800000", "[1,...]", Update::kClusterWide, "log.roll.ms,log.roll.hours"},
    {"unclean.leader.election.enable", Type::kBoolean, "false", "", Update::kClusterWide, "unclean.leader.election.enable"},
};

// One row per group key.
constexpr ConfigKey kGroupKeys[] = {
    {"consumer.assignment.interval.ms", Type::kInt, "1000", "[0,...]", Update::kClusterWide, "group.consumer.assignment.interval.ms"},
    {"consumer.assignor.offload.enable", Type::kBoolean, "true", "", Update::kClusterWide, "group.consumer.assignor.offload.enable", true},
    {"consumer.heartbeat.interval.ms", Type::kInt, "5000", "[1,...]", Update::kClusterWide, "group.consumer.heartbeat.interval.ms"},
    {"consumer.session.timeout.ms", Type::kInt, "45000", "[1,...]", Update::kClusterWide, "group.consumer.session.timeout.ms"},
    {"errors.deadletterqueue.copy.record.enable", Type::kBoolean, "false", "", Update::kClusterWide},
    {"errors.deadletterqueue.topic.name", Type::kString, "", "", Update::kClusterWide},
    {"share.assignment.interval.ms", Type::kInt, "1000", "[0,...]", Update::kClusterWide, "group.share.assignment.interval.ms"},
    {"share.assignor.offload.enable", Type::kBoolean, "true", "", Update::kClusterWide, "group.share.assignor.offload.enable", true},
    {"share.auto.offset.reset", Type::kString, "latest", "[latest, earliest, by_duration:PnDTnHnMn.nS]", Update::kClusterWide},
    {"share.delivery.count.limit", Type::kInt, "5", "[2,...]", Update::kClusterWide, "group.share.delivery.count.limit"},
    {"share.heartbeat.interval.ms", Type::kInt, "5000", "[1,...]", Update::kClusterWide, "group.share.heartbeat.interval.ms"},
    {"share.isolation.level", Type::kString, "read_uncommitted", "[read_committed, read_uncommitted]", Update::kClusterWide},
    {"share.partition.max.record.locks", Type::kInt, "2000", "[100,...]", Update::kClusterWide, "group.share.partition.max.record.locks"},
    {"share.record.lock.duration.ms", Type::kInt, "30000", "[1000,...]", Update::kClusterWide, "group.share.record.lock.duration.ms"},
    {"share.renew.acknowledge.enable", Type::kBoolean, "true", "", Update::kClusterWide},
    {"share.session.timeout.ms", Type::kInt, "45000", "[1,...]", Update::kClusterWide, "group.share.session.timeout.ms"},
    {"streams.acceptable.recovery.lag", Type::kLong, "10000", "[0,...]", Update::kClusterWide, "group.streams.acceptable.recovery.lag", true},
    {"streams.assignment.interval.ms", Type::kInt, "1000", "[0,...]", Update::kClusterWide, "group.streams.assignment.interval.ms"},
    {"streams.assignor.name", Type::kString, nullptr, "", Update::kClusterWide, "group.streams.assignors"},
    {"streams.assignor.offload.enable", Type::kBoolean, "true", "", Update::kClusterWide, "group.streams.assignor.offload.enable", true},
    {"streams.heartbeat.interval.ms", Type::kInt, "5000", "[1,...]", Update::kClusterWide, "group.streams.heartbeat.interval.ms"},
    {"streams.initial.rebalance.delay.ms", Type::kInt, "3000", "[0,...]", Update::kClusterWide, "group.streams.initial.rebalance.delay.ms"},
    {"streams.num.standby.replicas", Type::kInt, "0", "[0,...]", Update::kClusterWide, "group.streams.num.standby.replicas"},
    {"streams.num.warmup.replicas", Type::kInt, "2", "[0,...]", Update::kClusterWide, "group.streams.num.warmup.replicas", true},
    {"streams.rack.aware.assignment.tags", Type::kList, "", "", Update::kClusterWide, "group.streams.rack.aware.assignment.tags"},
    {"streams.session.timeout.ms", Type::kInt, "45000", "[1,...]", Update::kClusterWide, "group.streams.session.timeout.ms"},
    {"streams.task.offset.interval.ms", Type::kInt, "60000", "[1,...]", Update::kClusterWide, "group.streams.task.offset.interval.ms", true},
};

constexpr ConfigKey kClientMetricsKeys[] = {
    {"interval.ms", Type::kInt, "300000", "", Update::kClusterWide},
    {"match", Type::kList, "", "", Update::kClusterWide},
    {"metrics", Type::kList, "", "", Update::kClusterWide},
};

constexpr ConfigKey kThrottleKeys[] = {
    {"follower.replication.throttled.rate", Type::kLong, "9223372036854775807", "[0,...]", Update::kPerBroker},
    {"leader.replication.throttled.rate", Type::kLong, "9223372036854775807", "[0,...]", Update::kPerBroker},
    {"replica.alter.log.dirs.io.max.bytes.per.second", Type::kLong, "9223372036854775807", "[0,...]", Update::kPerBroker},
};

}  // namespace

std::span<const ConfigKey> topic_keys() { return kTopicKeys; }
std::span<const ConfigKey> group_keys() { return kGroupKeys; }
std::span<const ConfigKey> client_metrics_keys() { return kClientMetricsKeys; }
std::span<const ConfigKey> throttle_keys() { return kThrottleKeys; }

}  // namespace klamm::broker
