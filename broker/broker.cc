#include "broker/broker.h"

#include <spdlog/spdlog.h>

#include "protocol/generated/broker_registration_change_record.h"
#include "protocol/generated/producer_ids_record.h"
#include "protocol/generated/register_broker_record.h"
#include "protocol/generated/register_controller_record.h"
#include "replication/controller/elections.h"
#include "replication/metadata/features.h"

namespace klamm::broker {

using namespace protocol;
using replication::to_record;
using storage::LogDir;

namespace {

constexpr const char* kMetadataFolder = "/__cluster_metadata-0";
constexpr int64_t kProducerIdBlock = 1000;
constexpr int8_t kUnfence = -1;

RegisterBrokerRecord registration(const BrokerConfig& config, const Uuid& incarnation,
                                  int64_t epoch, const std::vector<std::unique_ptr<LogDir>>& dirs) {
  RegisterBrokerRecord record;
  record.broker_id = config.node_id();
  record.incarnation_id = incarnation;
  record.broker_epoch = epoch;
  record.fenced = true;
  if (const std::string* rack = config.find("broker.rack")) {
    record.rack = *rack;
  }
  for (const Endpoint& endpoint : config.advertised()) {
    record.end_points.push_back({.name = endpoint.name,
                                 .host = endpoint.host,
                                 .port = endpoint.port,
                                 .security_protocol = 0});
  }
  for (const auto& feature : replication::kFeatures) {
    record.features.push_back({.name = feature.name,
                               .min_supported_version = feature.level_min,
                               .max_supported_version = feature.level_max});
  }
  for (const auto& dir : dirs) {
    record.log_dirs.push_back(dir->directory_id());
  }
  return record;
}

RegisterControllerRecord controller_registration(int32_t id, const Uuid& incarnation) {
  RegisterControllerRecord record;
  record.controller_id = id;
  record.incarnation_id = incarnation;
  for (const auto& feature : replication::kFeatures) {
    record.features.push_back({.name = feature.name,
                               .min_supported_version = feature.level_min,
                               .max_supported_version = feature.level_max});
  }
  return record;
}

}  // namespace

Result<std::unique_ptr<Broker>> Broker::open(Environment environment, BrokerConfig config,
                                             const std::string& cluster_id) {
  std::unique_ptr<Broker> broker(new Broker(environment, std::move(config)));
  TRY_VOID(broker->open_dirs(cluster_id));
  const LogDir& metadata_dir = *broker->dirs_.front();
  TRY(broker->quorum_, replication::Quorum::open(environment.disk, environment.clock,
                                                 {.folder = metadata_dir.path() + kMetadataFolder,
                                                  .node_id = broker->config_.node_id(),
                                                  .clean = metadata_dir.was_clean()}));
  broker->replicas_ = std::make_unique<Replicas>(
      environment.disk, environment.clock, environment.random, broker->config_, broker->dirs_);
  broker->quorum_->observe(
      [replicas = broker->replicas_.get()](const ImagePtr& before, const ImagePtr& now) {
        replicas->follow(before, now);
      });
  TRY_VOID(broker->replicas_->load(broker->image()));
  TRY_VOID(broker->register_node());
  broker->groups_ = std::make_unique<GroupCoordinator>(
      broker->config_, *broker->replicas_, broker->timers_, environment.clock, environment.random,
      [raw = broker.get()] {
        const auto topic = raw->image()->topic(kOffsetsTopic);
        return topic == nullptr ? 0 : static_cast<int32_t>(topic->partitions.size());
      });
  return broker;
}

Result<> Broker::open_dirs(const std::string& wanted_id) {
  storage::LogDirIdentity identity{wanted_id, config_.node_id()};
  auto paths = config_.log_dirs();
  // The metadata log's directory comes first.
  if (const std::string* metadata = config_.find("metadata.log.dir");
      metadata != nullptr && !metadata->empty()) {
    std::erase(paths, *metadata);
    paths.insert(paths.begin(), *metadata);
  }
  if (identity.cluster_id.empty() &&
      !environment_.disk.exists(paths.front() + "/meta.properties")) {
    identity.cluster_id = storage::new_uuid(environment_.random).to_string();
  }
  for (const std::string& path : paths) {
    TRY(auto dir, LogDir::open(environment_.disk, environment_.random, path, identity));
    identity.cluster_id = dir->identity().cluster_id;
    dirs_.push_back(std::move(dir));
  }
  cluster_id_ = identity.cluster_id;
  return {};
}

Result<> Broker::register_node() {
  const Uuid incarnation = storage::new_uuid(environment_.random);
  TRY_VOID(commit({to_record(
      controller_registration(config_.node_id(), storage::new_uuid(environment_.random)), 0)}));
  // A broker's epoch is the offset of its registration.
  broker_epoch_ = quorum_->end_offset();
  BrokerRegistrationChangeRecord unfence;
  unfence.broker_id = config_.node_id();
  unfence.broker_epoch = broker_epoch_;
  unfence.fenced = kUnfence;
  TRY_VOID(commit({to_record(registration(config_, incarnation, broker_epoch_, dirs_), 4)}));
  TRY_VOID(commit({to_record(unfence, 3)}));
  return commit(replication::elect_for(*image(), config_.node_id()));
}

Result<> Broker::commit(const std::vector<Bytes>& records) {
  TRY(const int64_t base, quorum_->append(records));
  (void)base;
  return {};
}

replication::TopicDefaults Broker::topic_defaults() const {
  replication::TopicDefaults defaults;
  defaults.partitions = static_cast<int32_t>(config_.number("num.partitions"));
  defaults.replication_factor = static_cast<int16_t>(config_.number("default.replication.factor"));
  defaults.directory = [this](int32_t) { return replicas_->directory_for_new(); };
  return defaults;
}

Result<replication::TopicChange> Broker::create_topic(const replication::NewTopic& topic,
                                                      bool validate_only) {
  TRY_VOID(check_topic_config(topic.configs));
  TRY(auto change,
      replication::create_topic(*image(), topic, topic_defaults(), environment_.random));
  if (!validate_only) {
    TRY_VOID(commit(change.records));
  }
  return change;
}

bool Broker::ensure_topic(const std::string& name) {
  if (image()->topic(name) != nullptr) {
    return true;
  }
  replication::NewTopic topic{.name = name};
  if (name == kOffsetsTopic) {
    topic.partitions = static_cast<int32_t>(config_.number("offsets.topic.num.partitions"));
    topic.replication_factor =
        static_cast<int16_t>(config_.number("offsets.topic.replication.factor"));
    topic.configs = {{"cleanup.policy", "compact"},
                     {"compression.type", "producer"},
                     {"segment.bytes", config_.get("offsets.topic.segment.bytes")}};
  }
  const auto created = create_topic(topic, false);
  if (!created) {
    spdlog::warn("cannot create topic {}: {}", name, created.error().why);
  }
  return created.has_value();
}

Result<int64_t> Broker::next_producer_id() {
  if (producer_id_ == producer_id_end_) {
    const int64_t first = image()->next_producer_id;
    ProducerIdsRecord record;
    record.broker_id = config_.node_id();
    record.broker_epoch = broker_epoch_;
    record.next_producer_id = first + kProducerIdBlock;
    TRY_VOID(commit({to_record(record, 0)}));
    producer_id_ = first;
    producer_id_end_ = first + kProducerIdBlock;
  }
  return producer_id_++;
}

void Broker::every(int64_t period_ms, const std::function<void()>& work) {
  timers_.at(environment_.clock.monotonic_ms() + period_ms, [this, period_ms, work] {
    work();
    every(period_ms, work);
  });
}

void Broker::start_background() {
  every(config_.number("log.retention.check.interval.ms"), [this] { replicas_->housekeep(); });
  every(config_.number("log.flush.offset.checkpoint.interval.ms"), [this] {
    if (const auto done = replicas_->write_checkpoints(); !done) {
      spdlog::error("cannot write checkpoints: {}", done.error().why);
    }
  });
}

Result<> Broker::close() {
  TRY_VOID(quorum_->close());
  return replicas_->close(broker_epoch_);
}

}  // namespace klamm::broker
