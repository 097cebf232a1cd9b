#include "broker/node.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "broker/ask_owners.h"
#include "broker/cluster/broker_watch.h"
#include "broker/cluster/controller.h"
#include "broker/cluster/controller_channel.h"
#include "broker/cluster/isr_updates.h"
#include "broker/cluster/lifecycle.h"
#include "broker/cluster/raft_driver.h"
#include "protocol/generated/create_topics_request.h"
#include "protocol/generated/create_topics_response.h"

namespace klamm::broker {

using namespace protocol;
using storage::LogDir;

namespace {

constexpr const char* kMetadataFolder = "/__cluster_metadata-0";
constexpr int64_t kControllerTimeoutMs = 5'000;

// One event loop does for a small machine, where a hop to a sleeping thread costs more than it
// gains.
size_t count_shards(int64_t wanted, size_t cores) {
  constexpr size_t kCoresPerShard = 4;
  return wanted > 0 ? static_cast<size_t>(wanted)
                    : std::clamp<size_t>(cores / kCoresPerShard, 1, 16);
}

replication::Address address_of(const Endpoint& endpoint) { return {endpoint.host, endpoint.port}; }

// No controller.quorum.bootstrap.servers, or this controller alone among them.
bool knows_nobody_else(const replication::RaftOptions& options) {
  const auto is_own = [&options](const replication::Address& address) {
    const bool is_loopback = address.host == "localhost" || address.host == "127.0.0.1";
    return std::any_of(options.listeners.begin(), options.listeners.end(), [&](const auto& own) {
      return own.second.port == address.port &&
             (is_loopback || own.second.host.empty() || own.second.host == address.host);
    });
  };
  return options.bootstrap.empty() ||
         (options.bootstrap.size() == 1 && is_own(options.bootstrap.front()));
}

// Who votes: the list in the configuration; without one this controller alone, unless it is told
// of others to ask.
Result<replication::RaftOptions> raft_options(const BrokerConfig& config,
                                              const std::string& cluster_id,
                                              const Uuid& directory) {
  const auto number = [&](const char* key) { return config.number(key); };
  replication::RaftOptions options{
      .self = {config.node_id(), directory},
      .cluster_id = cluster_id,
      .is_controller = config.is_controller(),
      .auto_join = config.flag("controller.quorum.auto.join.enable"),
      .election_timeout_ms = number("controller.quorum.election.timeout.ms"),
      .election_backoff_max_ms = number("controller.quorum.election.backoff.max.ms"),
      .fetch_timeout_ms = number("controller.quorum.fetch.timeout.ms"),
      .request_timeout_ms = number("controller.quorum.request.timeout.ms"),
      .retry_backoff_ms = number("controller.quorum.retry.backoff.ms")};
  for (const Endpoint& endpoint : config.controller_advertised()) {
    options.listeners.push_back({endpoint.name, address_of(endpoint)});
  }
  const auto listener = split_list(config.get("controller.listener.names"));
  TRY(options.static_voters,
      replication::VoterSet::parse(config.get("controller.quorum.voters"),
                                   listener.empty() ? "CONTROLLER" : listener.front()));
  for (const std::string& text : split_list(config.get("controller.quorum.bootstrap.servers"))) {
    TRY(const auto parsed, replication::VoterSet::parse("0@" + text, ""));
    options.bootstrap.push_back(*parsed.address_of(0));
  }
  if (options.static_voters.empty() && config.is_controller() && knows_nobody_else(options)) {
    options.static_voters =
        replication::VoterSet({{.key = {config.node_id(), {}}, .endpoints = options.listeners}});
  }
  if (config.is_controller() && !options.static_voters.empty() &&
      !options.static_voters.contains(options.self)) {
    return fail(ErrorCode::kInvalidConfig,
                "controller.quorum.voters does not name this controller, node " +
                    std::to_string(config.node_id()) + ": add " + std::to_string(config.node_id()) +
                    "@host:port, or take controller out of process.roles");
  }
  if (const auto* const own = options.static_voters.address_of(config.node_id());
      own != nullptr && options.static_voters.all().size() > 1) {
    options.listeners = {{options.static_voters.all().at(config.node_id()).endpoints.front()}};
  }
  return options;
}

Result<replication::QuorumOptions> quorum_options(const BrokerConfig& config,
                                                  const std::string& cluster_id,
                                                  const LogDir& metadata_dir) {
  const auto number = [&](const char* key) { return config.number(key); };
  TRY(auto raft, raft_options(config, cluster_id, metadata_dir.directory_id()));
  return replication::QuorumOptions{
      .log = {.folder = metadata_dir.path() + kMetadataFolder,
              .clean = metadata_dir.was_clean(),
              .segment_bytes = number("metadata.log.segment.bytes"),
              .retention_bytes = number("metadata.max.retention.bytes"),
              .retention_ms = number("metadata.max.retention.ms")},
      .raft = std::move(raft),
      .snapshot_bytes = number("metadata.log.max.record.bytes.between.snapshots"),
      .snapshot_interval_ms = number("metadata.log.max.snapshot.interval.ms")};
}

}  // namespace

Result<std::unique_ptr<Node>> Node::open(Environment environment, BrokerConfig config,
                                         const std::string& cluster_id) {
  std::unique_ptr<Node> node(new Node(std::move(environment), std::move(config)));
  node->shard_count_ = count_shards(node->config_.number("klamm.shards"), node->environment_.cores);
  TRY_VOID(node->open_dirs(cluster_id));
  for (size_t i = 0; i < node->shard_count_; ++i) {
    node->shards_.push_back(std::make_unique<Broker>(*node, i));
  }
  TRY_VOID(node->open_quorum());
  TRY_VOID(node->load_shards());
  node->join();
  for (const auto& dir : node->dirs_) {
    dir->disk().on_failure([raw = node.get(), failed = dir.get()](const Error& error) {
      raw->on_dir_failure(*failed, error);
    });
  }
  return node;
}

Node::Node(Environment environment, BrokerConfig config)
    : environment_(std::move(environment)), config_(std::move(config)) {}
Node::~Node() = default;
const ImagePtr& Node::image() const { return quorum_->image(); }
const ImagePtr& Node::working_image() const { return quorum_->working_image(); }

Result<> Node::open_quorum() {
  Broker& here = *shards_[kControllerShard];
  const LogDir& metadata_dir = *dirs_.front();
  TRY(auto options, quorum_options(config_, cluster_id_, metadata_dir));
  raft_driver_ =
      std::make_unique<RaftDriver>(environment_.transport(kControllerShard), here.timers());
  TRY(quorum_, replication::Quorum::open(dirs_.front()->disk(), environment_.clock,
                                         environment_.random, *raft_driver_, options));
  raft_driver_->drive(quorum_->raft());
  controller_ = std::make_unique<Controller>(
      *quorum_, cluster_id_, config_.node_id(), config_.number("broker.session.timeout.ms"),
      config_.flag("auto.leader.rebalance.enable")
          ? config_.number("leader.imbalance.check.interval.seconds") * 1000
          : 0,
      here.timers(), environment_.clock);
  channel_ = std::make_unique<ControllerChannel>(
      *quorum_, *controller_, environment_.transport(kControllerShard), kControllerTimeoutMs);
  Lifecycle::Self self{.cluster_id = cluster_id_,
                       .incarnation = storage::new_uuid(environment_.random),
                       .directories = {},
                       .previous_epoch = metadata_dir.last_broker_epoch()};
  for (const auto& dir : dirs_) {
    self.directories.push_back(dir->directory_id());
  }
  for (const auto& shard : shards_) {
    shard->replicas().lead_as(self.incarnation);
  }
  lifecycle_ = std::make_unique<Lifecycle>(config_, std::move(self), *quorum_, *channel_,
                                           here.timers(), environment_.clock);
  broker_watch_ = std::make_unique<BrokerWatch>(
      config_.node_id(), config_.inter_broker_listener(), environment_.transport(kControllerShard),
      [this](int32_t broker, int64_t epoch) { controller_->on_gone(broker, epoch); });
  isr_updates_ = std::make_unique<IsrUpdates>(
      *channel_, config_.node_id(), [this] { return broker_epoch_.load(); },
      [&here](IsrVerdict verdict) {
        const size_t at = here.owner(verdict.topic_id, verdict.partition);
        here.at(at, [verdict = std::move(verdict)](Broker& owner) {
          if (Partition* const partition =
                  owner.replicas().find_open(verdict.topic_id, verdict.partition)) {
            partition->on_proposed(verdict.code, verdict.leader_epoch, verdict.isr,
                                   verdict.partition_epoch, owner.clock().monotonic_ms());
          }
        });
      });
  return {};
}

void Node::propose(const replication::IsrProposal& proposal) { isr_updates_->propose(proposal); }

// From here on the quorum's news are followed.
void Node::join() {
  quorum_->observe([this](const ImagePtr&, const ImagePtr& now) { on_metadata(now); });
  quorum_->on_leadership([this] { on_leadership(); });
  quorum_->on_fatal([this](const Error& error) {
    environment_.halt("Shutdown because of the metadata log: " + error.why);
  });
  on_leadership();
  lifecycle_->start();
  broker_epoch_ = lifecycle_->broker_epoch();
}

void Node::on_metadata(const ImagePtr& image) {
  publish(image);
  broker_watch_->follow(*image, quorum_->is_active());
  lifecycle_->on_metadata();
  broker_epoch_ = lifecycle_->broker_epoch();
}

// Called when the controller has let this broker in, which it does once it has all metadata.
void Node::drop_strays() {
  Broker& here = *shards_[kControllerShard];
  for (size_t i = 0; i < shard_count_; ++i) {
    here.at(i, [](Broker& shard) { shard.replicas().drop_strays(); });
  }
}

void Node::on_leadership() {
  const bool changed = is_active_controller_.exchange(quorum_->is_active()) != quorum_->is_active();
  controller_id_ = quorum_->raft().leader();
  if (changed) {
    spdlog::info("this node {} the active controller, epoch {}",
                 quorum_->is_active() ? "is now" : "is no longer", quorum_->raft().epoch());
  }
  controller_->on_leadership();
  broker_watch_->follow(*quorum_->image(), quorum_->is_active());
  lifecycle_->on_leadership();
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
  std::vector<Homes> homes(shard_count_);
  for (const auto& dir : dirs_) {
    TRY(const auto found, dir->partitions());
    for (const auto& partition : found) {
      TRY_VOID(adopt(partition, *dir, homes));
    }
  }
  for (size_t i = 0; i < shard_count_; ++i) {
    shards_[i]->load(image(), std::move(homes[i]));
  }
  return {};
}

Result<> Node::adopt(const storage::FoundPartition& found, LogDir& dir, std::vector<Homes>& homes) {
  const auto topic = image()->topic(found.id.topic);
  // A node that is no quorum by itself learns later which topics there are (drop_strays).
  const bool is_known = topic != nullptr && (!found.topic_id || *found.topic_id == topic->id);
  if (!is_known && (quorum_->is_active() || !found.topic_id)) {
    if (!found.is_future) {
      TRY(const std::string kept, dir.mark_stray(found.id, environment_.random));
      spdlog::warn("{} belongs to no topic of this cluster; it is {} now", found.folder, kept);
    }
    return {};
  }
  const size_t shard =
      owning_shard(is_known ? topic->id : *found.topic_id, found.id.partition, shard_count_);
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
  mailboxes_->post(kControllerShard,
                   [this, failed = dir.directory_id()] { lifecycle_->report_failed(failed); });
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

Result<> Node::append(const std::vector<Bytes>& records) {
  TRY(const int64_t base, quorum_->append(records));
  (void)base;
  raft_driver_->arm();
  return {};
}

void Node::when_committed(std::move_only_function<void(Result<>)> done) {
  quorum_->when_committed(std::move(done));
}

replication::TopicDefaults Node::topic_defaults() const {
  replication::TopicDefaults defaults;
  defaults.partitions = static_cast<int32_t>(config_.number("num.partitions"));
  defaults.replication_factor = static_cast<int16_t>(config_.number("default.replication.factor"));
  // Each new partition goes to the directory that has the fewest by then.
  defaults.directory = [this, load = directory_load()](int32_t broker) mutable {
    if (broker != config_.node_id()) {
      // A broker with several chooses itself, and tells.
      const auto known = working_image()->brokers.find(broker);
      return known != working_image()->brokers.end() && known->second.directories.size() == 1
                 ? known->second.directories.front()
                 : Uuid{};
    }
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
  for (const auto& [name, topic] : working_image()->topics->by_name) {
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
      replication::create_topic(*working_image(), topic, topic_defaults(), environment_.random));
  if (!validate_only) {
    TRY_VOID(append(change.records));
  }
  return change;
}

// What to create for a name that is asked for, if it is not there.
std::optional<replication::NewTopic> Node::missing_topic(const std::string& name) const {
  if (working_image()->topic(name) != nullptr) {
    return std::nullopt;
  }
  replication::NewTopic topic{.name = name};
  if (name == kTransactionsTopic) {
    topic.partitions = static_cast<int32_t>(config_.number("transaction.state.log.num.partitions"));
    topic.replication_factor =
        static_cast<int16_t>(config_.number("transaction.state.log.replication.factor"));
    topic.configs = {{"cleanup.policy", "compact"},
                     {"compression.type", "uncompressed"},
                     {"min.insync.replicas", config_.get("transaction.state.log.min.isr")},
                     {"segment.bytes", config_.get("transaction.state.log.segment.bytes")},
                     {"unclean.leader.election.enable", "false"}};
  }
  if (name == kOffsetsTopic) {
    topic.partitions = static_cast<int32_t>(config_.number("offsets.topic.num.partitions"));
    topic.replication_factor =
        static_cast<int16_t>(config_.number("offsets.topic.replication.factor"));
    topic.configs = {{"cleanup.policy", "compact"},
                     {"compression.type", "producer"},
                     {"segment.bytes", config_.get("offsets.topic.segment.bytes")}};
  }
  if (name == kShareTopic) {
    topic.partitions =
        static_cast<int32_t>(config_.number("share.coordinator.state.topic.num.partitions"));
    topic.replication_factor =
        static_cast<int16_t>(config_.number("share.coordinator.state.topic.replication.factor"));
    topic.configs = {{"cleanup.policy", "delete"},
                     {"compression.type", "producer"},
                     {"min.insync.replicas", config_.get("share.coordinator.state.topic.min.isr")},
                     {"retention.ms", "-1"},
                     {"segment.bytes", config_.get("share.coordinator.state.topic.segment.bytes")}};
  }
  return topic;
}

void Node::ensure_topics(const std::vector<std::string>& names,
                         std::move_only_function<void()> done) {
  std::vector<replication::NewTopic> missing;
  for (const std::string& name : names) {
    if (auto topic = missing_topic(name)) {
      missing.push_back(std::move(*topic));
    }
  }
  create_topics(missing, [done = std::move(done)](const std::string& why) mutable {
    if (!why.empty()) {
      spdlog::warn("cannot have topics created: {}", why);
    }
    done();
  });
}

void Node::create_topics(const std::vector<replication::NewTopic>& topics,
                         std::move_only_function<void(const std::string&)> done) {
  const auto is_refusal = [](ErrorCode code) {
    return code != ErrorCode::kNone && code != ErrorCode::kTopicAlreadyExists;
  };
  CreateTopicsRequest request;
  request.timeout_ms = kControllerTimeoutMs;
  std::string why;
  for (const auto& topic : topics) {
    if (quorum_->is_active()) {
      const auto created = create_topic(topic, false);
      if (!created && is_refusal(created.error().code)) {
        why = topic.name + ": " + created.error().why;
      }
      continue;
    }
    auto& asked = request.topics.emplace_back();
    asked.name = topic.name;
    asked.num_partitions = topic.partitions;
    asked.replication_factor = topic.replication_factor;
    for (const auto& [key, value] : topic.configs) {
      asked.configs.push_back({.name = key, .value = value});
    }
  }
  if (request.topics.empty()) {
    return when_committed([why, done = std::move(done)](const Result<>&) mutable { done(why); });
  }
  channel_->ask_remote<CreateTopicsResponse>(
      std::move(request),
      [is_refusal, done = std::move(done)](Result<CreateTopicsResponse> answer) mutable {
        std::string why = answer ? "" : answer.error().why;
        if (answer) {
          for (const auto& topic : answer->topics) {
            if (is_refusal(topic.error_code)) {
              why = topic.name + ": " + topic.error_message.value_or("");
            }
          }
        }
        done(why);
      });
}

void Node::note_moved(const storage::TopicPartition& id, const Uuid& directory) {
  const auto topic = image()->topic(id.topic);
  if (topic == nullptr) {
    return;
  }
  AssignReplicasToDirsRequest request;
  request.broker_id = config_.node_id();
  request.broker_epoch = broker_epoch_;
  request.directories = {
      {.id = directory,
       .topics = {{.topic_id = topic->id, .partitions = {{.partition_index = id.partition}}}}}};
  channel_->ask<AssignReplicasToDirsResponse>(
      std::move(request), [this, id, directory](Result<AssignReplicasToDirsResponse> answer) {
        const ErrorCode code = answer ? answer->error_code : answer.error().code;
        if (code != ErrorCode::kNone) {
          constexpr int64_t kRetryMs = 1'000;
          spdlog::info("cannot assign {} to its directory yet: {}", id.directory(), name_of(code));
          Broker& here = *shards_[kControllerShard];
          here.timers().after(environment_.clock, kRetryMs,
                              [this, id, directory] { note_moved(id, directory); });
        }
      });
}

LogDir* Node::dir_of(const std::string& path) {
  const auto found = std::find_if(dirs_.begin(), dirs_.end(),
                                  [&](const auto& dir) { return dir->path() == path; });
  return found == dirs_.end() ? nullptr : found->get();
}

void Node::next_producer_id(std::move_only_function<void(Result<int64_t>)> done) {
  if (producer_id_ < producer_id_end_) {
    return done(producer_id_++);
  }
  producer_ids_wanted_.push_back(std::move(done));
  if (producer_ids_wanted_.size() > 1) {
    return;  // a block is on its way
  }
  AllocateProducerIdsRequest request;
  request.broker_id = config_.node_id();
  request.broker_epoch = broker_epoch_;
  channel_->ask<AllocateProducerIdsResponse>(std::move(request),
                                             [this](Result<AllocateProducerIdsResponse> block) {
                                               hand_out_producer_ids(std::move(block));
                                             });
}

void Node::hand_out_producer_ids(Result<AllocateProducerIdsResponse> block) {
  if (block && block->error_code == ErrorCode::kNone) {
    producer_id_ = block->producer_id_start;
    producer_id_end_ = producer_id_ + block->producer_id_len;
  }
  auto wanted = std::exchange(producer_ids_wanted_, {});
  for (auto& done : wanted) {
    if (producer_id_ < producer_id_end_) {
      done(producer_id_++);
    } else if (block && block->error_code == ErrorCode::kNone) {
      next_producer_id(std::move(done));
    } else {
      // Producers try that again.
      done(fail(ErrorCode::kCoordinatorLoadInProgress, "no block of producer ids came"));
    }
  }
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
  if (!quorum_->is_active()) {
    lifecycle_->on_running([this] { drop_strays(); });
  }
  const bool was_clean =
      std::all_of(dirs_.begin(), dirs_.end(), [](const auto& dir) { return dir->was_clean(); });
  for (const auto& shard : shards_) {
    shard->housekeeping().start(!was_clean);
    shard->cleaner().start();
    shard->mover().start();
    shard->start_background();
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

void Node::begin_stop(std::function<void()> done) {
  lifecycle_->stop([this, done = std::move(done)] {
    const bool has_others = quorum_->raft().voters().all().size() > 1;
    if (!has_others || !quorum_->raft().is_leader()) {
      return done();
    }
    constexpr int64_t kHandOverMs = 100;
    quorum_->raft().resign();
    raft_driver_->arm();
    Broker& here = *shards_[kControllerShard];
    here.timers().after(here.clock(), kHandOverMs, done);
  });
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
