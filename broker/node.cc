#include "broker/node.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "broker/ask_owners.h"
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

// One event loop does for a small machine, where a hop to a sleeping thread costs more than it
// gains.
size_t count_shards(int64_t wanted, size_t cores) {
  constexpr size_t kCoresPerShard = 4;
  return wanted > 0 ? static_cast<size_t>(wanted)
                    : std::clamp<size_t>(cores / kCoresPerShard, 1, 16);
}

}  // namespace

Result<std::unique_ptr<Node>> Node::open(Environment environment, BrokerConfig config,
                                         const std::string& cluster_id) {
  std::unique_ptr<Node> node(new Node(std::move(environment), std::move(config)));
  node->shard_count_ = count_shards(node->config_.number("klamm.shards"), node->environment_.cores);
  TRY_VOID(node->open_dirs(cluster_id));
  const LogDir& metadata_dir = *node->dirs_.front();
  const auto number = [&](const char* key) { return node->config_.number(key); };
  TRY(node->quorum_,
      replication::Quorum::open(
          node->dirs_.front()->disk(), node->environment_.clock,
          {.folder = metadata_dir.path() + kMetadataFolder,
           .node_id = node->config_.node_id(),
           .clean = metadata_dir.was_clean(),
           .snapshot_bytes = number("metadata.log.max.record.bytes.between.snapshots"),
           .snapshot_interval_ms = number("metadata.log.max.snapshot.interval.ms"),
           .segment_bytes = number("metadata.log.segment.bytes"),
           .retention_bytes = number("metadata.max.retention.bytes"),
           .retention_ms = number("metadata.max.retention.ms")}));
  TRY_VOID(node->load_shards());
  node->quorum_->observe(
      [raw = node.get()](const ImagePtr&, const ImagePtr& now) { raw->publish(now); });
  TRY_VOID(node->register_node());
  for (const auto& dir : node->dirs_) {
    dir->disk().on_failure([raw = node.get(), failed = dir.get()](const Error& error) {
      raw->on_dir_failure(*failed, error);
    });
  }
  return node;
}

Result<> Node::open_dirs(const std::string& wanted_id) {
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
    auto dir = LogDir::open(environment_.disk, environment_.random, path, identity);
    if (!dir && dir.error().code == ErrorCode::kKafkaStorageError && !dirs_.empty()) {
      spdlog::error("{} is offline: {}", path, dir.error().why);
      missing_dirs_.push_back(path);
      continue;
    }
    if (!dir) {
      return std::unexpected(dir.error());
    }
    identity.cluster_id = (*dir)->identity().cluster_id;
    dirs_.push_back(std::move(*dir));
  }
  cluster_id_ = identity.cluster_id;
  return {};
}

// Deals what the directories hold out to the shards.
Result<> Node::load_shards() {
  for (size_t i = 0; i < shard_count_; ++i) {
    shards_.push_back(std::make_unique<Broker>(*this, i));
  }
  std::vector<Homes> homes(shard_count_);
  for (const auto& dir : dirs_) {
    TRY(const auto found, dir->partitions());
    for (const auto& partition : found) {
      TRY_VOID(adopt(partition, *dir, homes));
    }
  }
  for (size_t i = 0; i < shard_count_; ++i) {
    shards_[i]->replicas().load(image(), std::move(homes[i]));
  }
  return {};
}

Result<> Node::adopt(const storage::FoundPartition& found, LogDir& dir, std::vector<Homes>& homes) {
  const auto topic = image()->topic(found.id.topic);
  if (topic == nullptr || (found.topic_id && *found.topic_id != topic->id)) {
    spdlog::warn("{} belongs to no topic of this cluster; it is left alone", found.folder);
    return {};
  }
  const size_t shard = owning_shard(topic->id, found.id.partition, shard_count_);
  if (found.is_future) {
    shards_[shard]->mover().resume(found.id, dir, found.folder);
    return {};
  }
  LogDir*& home = homes[shard][found.id];
  if (home == nullptr) {
    home = &dir;
    return {};
  }
  // A move was cut off when the copy had its name already: the metadata say which one is current.
  const auto* partition = image()->partition(found.id.topic, found.id.partition);
  const bool is_current = partition != nullptr && !partition->directories.empty() &&
                          partition->directories.front() == dir.directory_id();
  LogDir& other = is_current ? *std::exchange(home, &dir) : dir;
  TRY(const std::string marked, other.mark_deleted(found.id, environment_.random));
  spdlog::warn("{} lies in two directories; the copy in {} goes", found.id.directory(), marked);
  return {};
}

// As the reference: without its metadata log a node is nothing; without one of several other
// directories it goes on.
void Node::on_dir_failure(const LogDir& dir, const Error& error) {
  spdlog::error("Stopping serving logs in dir {}: {}", dir.path(), error.why);
  const bool all_failed = std::all_of(dirs_.begin(), dirs_.end(),
                                      [](const auto& other) { return other->is_offline(); });
  if (&dir == dirs_.front().get() || all_failed) {
    return environment_.halt("Shutdown broker because the log dir " + dir.path() +
                             " has failed and nothing can be served without it");
  }
  if (mailboxes_ == nullptr) {
    return;
  }
  for (size_t i = 0; i < shard_count_; ++i) {
    mailboxes_->post(i, [shard = shards_[i].get()] { shard->replicas().drop_offline(); });
  }
  mailboxes_->post(kControllerShard, [this] {
    if (const auto done =
            commit(replication::take_offline(*image(), config_.node_id(), online_dirs()));
        !done) {
      spdlog::error("cannot take partitions offline: {}", done.error().why);
    }
  });
}

// Before there are mailboxes the shards do not run yet, and this thread may touch them all.
void Node::publish(const ImagePtr& image) {
  shards_[kControllerShard]->follow(image);
  for (size_t i = 1; i < shard_count_; ++i) {
    if (mailboxes_ == nullptr) {
      shards_[i]->follow(image);
    } else {
      mailboxes_->post(i, [shard = shards_[i].get(), image] { shard->follow(image); });
    }
  }
}

Result<> Node::register_node() {
  const Uuid incarnation = storage::new_uuid(environment_.random);
  // A broker's epoch is the offset of its registration, which is the second of these records.
  broker_epoch_ = quorum_->end_offset() + 1;
  BrokerRegistrationChangeRecord unfence;
  unfence.broker_id = config_.node_id();
  unfence.broker_epoch = broker_epoch_;
  unfence.fenced = kUnfence;
  TRY_VOID(commit(
      {to_record(controller_registration(config_.node_id(), storage::new_uuid(environment_.random)),
                 0),
       to_record(registration(config_, incarnation, broker_epoch_, dirs_), 4),
       to_record(unfence, 3)}));
  TRY_VOID(commit(replication::take_offline(*image(), config_.node_id(), online_dirs())));
  return commit(replication::elect_for(*image(), config_.node_id(), online_dirs()));
}

replication::Directories Node::online_dirs() const {
  replication::Directories online;
  for (const auto& dir : dirs_) {
    if (!dir->is_offline()) {
      online.insert(dir->directory_id());
    }
  }
  return online;
}

Result<> Node::commit(const std::vector<Bytes>& records) {
  TRY(const int64_t base, quorum_->append(records));
  (void)base;
  return {};
}

replication::TopicDefaults Node::topic_defaults() const {
  replication::TopicDefaults defaults;
  defaults.partitions = static_cast<int32_t>(config_.number("num.partitions"));
  defaults.replication_factor = static_cast<int16_t>(config_.number("default.replication.factor"));
  // Each new partition goes to the directory that has the fewest by then.
  defaults.directory = [this, load = directory_load()](int32_t) mutable {
    const auto least = std::min_element(dirs_.begin(), dirs_.end(), [&](auto& a, auto& b) {
      return std::pair(a->is_offline(), load[a->directory_id()]) <
             std::pair(b->is_offline(), load[b->directory_id()]);
    });
    ++load[(*least)->directory_id()];
    return (*least)->directory_id();
  };
  return defaults;
}

// How many partitions each directory holds.
std::map<Uuid, size_t> Node::directory_load() const {
  std::map<Uuid, size_t> load;
  if (dirs_.size() == 1) {
    return load;  // there is no choice
  }
  for (const auto& [name, topic] : image()->topics->by_name) {
    for (const auto& [index, partition] : topic->partitions) {
      for (const Uuid& directory : partition.directories) {
        ++load[directory];
      }
    }
  }
  return load;
}

Result<replication::TopicChange> Node::create_topic(const replication::NewTopic& topic,
                                                    bool validate_only) {
  TRY_VOID(check_topic_config(topic.configs));
  TRY(auto change,
      replication::create_topic(*image(), topic, topic_defaults(), environment_.random));
  if (!validate_only) {
    TRY_VOID(commit(change.records));
  }
  return change;
}

bool Node::ensure_topic(const std::string& name) {
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

void Node::note_moved(const storage::TopicPartition& id, const Uuid& directory) {
  if (const auto done = commit(replication::assign_directory(*image(), config_.node_id(), id.topic,
                                                             id.partition, directory));
      !done) {
    spdlog::error("cannot assign {} to its directory: {}", id.directory(), done.error().why);
  }
}

LogDir* Node::dir_of(const std::string& path) {
  const auto found = std::find_if(dirs_.begin(), dirs_.end(),
                                  [&](const auto& dir) { return dir->path() == path; });
  return found == dirs_.end() ? nullptr : found->get();
}

Result<int64_t> Node::next_producer_id() {
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

namespace {

// All shards have their share of every directory.
DirOffsets together(const std::vector<DirOffsets>& of_shards) {
  DirOffsets all;
  for (const DirOffsets& of_shard : of_shards) {
    for (const auto& [dir, offsets] : of_shard) {
      LogDir::Offsets& of_dir = all[dir];
      of_dir.recovery_points.insert(offsets.recovery_points.begin(), offsets.recovery_points.end());
      of_dir.start_offsets.insert(offsets.start_offsets.begin(), offsets.start_offsets.end());
      of_dir.cleaned.insert(offsets.cleaned.begin(), offsets.cleaned.end());
      of_dir.high_watermarks.insert(offsets.high_watermarks.begin(), offsets.high_watermarks.end());
    }
  }
  return all;
}

void complain(const Result<>& done) {
  if (!done) {
    spdlog::error("cannot write checkpoints: {}", done.error().why);
  }
}

void every(Broker& broker, int64_t period_ms, const std::function<void()>& work) {
  broker.timers().after(broker.clock(), period_ms, [&broker, period_ms, work] {
    work();
    every(broker, period_ms, work);
  });
}

}  // namespace

void Node::start_background() {
  const bool was_clean =
      std::all_of(dirs_.begin(), dirs_.end(), [](const auto& dir) { return dir->was_clean(); });
  for (const auto& shard : shards_) {
    shard->housekeeping().start(!was_clean);
    shard->cleaner().start();
    shard->mover().start();
  }
  every(*shards_[kControllerShard], config_.number("log.flush.offset.checkpoint.interval.ms"),
        [this] { write_checkpoints(complain); });
}

void Node::write_checkpoints(std::move_only_function<void(const Result<>&)> done) {
  checkpoints_wanted_.push_back(std::move(done));
  if (!checkpointing_) {
    begin_checkpoints();
  }
}

void Node::begin_checkpoints() {
  checkpointing_ = true;
  Broker& here = *shards_[kControllerShard];
  ask_owners(
      here, here.all_shards(), [](size_t shard) { return shard; },
      [](Broker& broker, size_t) { return broker.replicas().offsets(); },
      [this, &here, dones = std::exchange(checkpoints_wanted_, {})](
          const std::vector<DirOffsets>& of_shards) mutable {
        here.background().run([offsets = together(of_shards)] { return store(offsets); },
                              [this, dones = std::move(dones)](const Result<>& outcome) mutable {
                                for (auto& done : dones) {
                                  done(outcome);
                                }
                                checkpointing_ = false;
                                if (!checkpoints_wanted_.empty()) {
                                  begin_checkpoints();
                                }
                              });
      });
}

void Node::checkpoint_soon() {
  constexpr int64_t kSoonMs = 500;
  if (checkpoint_armed_) {
    return;
  }
  checkpoint_armed_ = true;
  Broker& here = *shards_[kControllerShard];
  here.timers().after(here.clock(), kSoonMs, [this] {
    checkpoint_armed_ = false;
    write_checkpoints(complain);
  });
}

Result<> Node::store(const DirOffsets& offsets) {
  for (const auto& [dir, of_dir] : offsets) {
    if (!dir->is_offline()) {
      TRY_VOID(dir->store_checkpoints(of_dir));
    }
  }
  return {};
}

Result<> Node::close() {
  TRY_VOID(quorum_->close());
  std::vector<DirOffsets> of_shards;
  std::set<LogDir*> unclean;
  for (const auto& shard : shards_) {
    unclean.merge(shard->replicas().close());
    of_shards.push_back(shard->replicas().offsets());
  }
  TRY_VOID(store(together(of_shards)));
  for (const auto& dir : dirs_) {
    if (!dir->is_offline() && !unclean.contains(dir.get())) {
      TRY_VOID(dir->mark_clean(broker_epoch_));
    }
  }
  return {};
}

}  // namespace klamm::broker
