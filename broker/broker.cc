#include "broker/broker.h"

#include <spdlog/spdlog.h>

#include <latch>
#include <numeric>

#include "broker/coordinator/group/group_shard.h"
#include "broker/node.h"
#include "broker/share/shares.h"
#include "storage/log_dir.h"

namespace klamm::broker {

namespace {

struct Finish : storage::Background::Ticket {
  explicit Finish(storage::Workers& workers) : workers(workers) {}
  void wait() override {
    workers.help();
    latch.wait();
  }
  storage::Workers& workers;
  std::latch latch{1};
};

}  // namespace

std::shared_ptr<storage::Background::Ticket> ShardBackground::run(Work work, Done done) {
  const auto finish = std::make_shared<Finish>(node_.environment().workers);
  node_.environment().workers.run([&node = node_, shard = shard_, finish, work = std::move(work),
                                   done = std::move(done)]() mutable {
    auto outcome = work();
    work = nullptr;  // what it holds ends here, not on the shard
    finish->latch.count_down();
    node.mailboxes().post(shard, [done = std::move(done), outcome = std::move(outcome)]() mutable {
      done(std::move(outcome));
    });
  });
  return finish;
}

Broker::Broker(Node& node, size_t shard)
    : node_(node),
      shard_(shard),
      environment_(node.environment()),
      config_(node.config()),
      background_(node, shard),
      replicas_(environment_.clock, environment_.random, background_, config_, node.dirs(),
                environment_.open_files_max / node.shard_count(), {shard, node.shard_count()}),
      cleaner_(config_, replicas_, timers_, environment_.clock, background_),
      mover_(config_, node.move_throttle(), replicas_, timers_, environment_.clock,
             environment_.random, background_,
             [this](const storage::TopicPartition& id, const Uuid& directory) {
               note_placed(id, directory);
             }),
      housekeeping_(config_, replicas_, timers_, environment_.clock),
      fetchers_(config_, node.follower_throttle(), replicas_, environment_.transport(shard),
                timers_, environment_.clock, [&node] { return node.broker_epoch(); }),
      groups_(config_, replicas_, timers_, environment_.clock, surroundings_of_groups()),
      markers_(*this),
      transactions_(config_, replicas_, timers_, environment_.clock, markers_),
      verifier_(*this),
      fetch_sessions_(
          static_cast<size_t>(config_.number("max.incremental.fetch.session.cache.slots"))),
      shares_(std::make_unique<Shares>(*this)) {
  replicas_.on_proposal([this](const replication::IsrProposal& proposal) {
    at_controller([proposal](Node& there) { there.propose(proposal); });
  });
  replicas_.on_placed([this](const storage::TopicPartition& id, const Uuid& directory) {
    note_placed(id, directory);
  });
  replicas_.on_synced([this] { at_controller([](Node& there) { there.checkpoint_soon(); }); });
}

Broker::~Broker() = default;

namespace {

// Member ids end in a random UUID in its usual text form.
std::string uuid_text(storage::Random& random) {
  const std::string hex = storage::new_uuid(random).to_hex();
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" +
         hex.substr(16, 4) + "-" + hex.substr(20);
}

// Calls `ask` for each place, and `done` with the first code that is none, once all are answered.
template <class Ask>
void for_all(const ShareStarts& places, const Ask& ask, GroupSurroundings::Done done) {
  struct Open {
    size_t left;
    ErrorCode code = ErrorCode::kNone;
  };
  auto open = std::make_shared<Open>(places.size() + 1);
  const auto finish_one = [open, done = std::move(done)](ErrorCode code) {
    open->code = open->code == ErrorCode::kNone ? code : open->code;
    if (--open->left == 0) {
      done(open->code);
    }
  };
  for (const auto& [place, offset] : places) {
    ask(place, offset, finish_one);
  }
  finish_one(ErrorCode::kNone);
}

replication::NewTopic to_new_topic(const InternalTopic& topic) {
  constexpr int16_t kClusterDefault = -1;
  replication::NewTopic wanted{.name = topic.name};
  wanted.partitions = topic.partitions;
  wanted.replication_factor =
      topic.replication_factor == 0 ? kClusterDefault : topic.replication_factor;
  wanted.configs = {topic.configs.begin(), topic.configs.end()};
  return wanted;
}

}  // namespace

GroupSurroundings Broker::surroundings_of_groups() {
  return {.image = [this] { return image(); },
          .unique_suffix = [this] { return uuid_text(random()); },
          .initialize_shared =
              [this](const std::string& group, int32_t state_epoch, const ShareStarts& starts,
                     GroupSurroundings::Done done) {
                for_all(
                    starts,
                    [&](const auto& place, int64_t offset, const auto& finish_one) {
                      shares().persister().initialize({group, place.first, place.second},
                                                      state_epoch, offset, finish_one);
                    },
                    std::move(done));
              },
          .remove_shared =
              [this](const std::string& group, const ShareStarts& starts,
                     GroupSurroundings::Done done) {
                for_all(
                    starts,
                    [&](const auto& place, int64_t, const auto& finish_one) {
                      shares().persister().remove({group, place.first, place.second}, finish_one);
                    },
                    std::move(done));
              },
          .create_topics =
              [this](const std::vector<InternalTopic>& topics,
                     std::function<void(const std::string&)> done) {
                std::vector<replication::NewTopic> wanted;
                for (const auto& topic : topics) {
                  wanted.push_back(to_new_topic(topic));
                }
                at_controller([wanted = std::move(wanted), done = std::move(done),
                               home = shard_](Node& node) {
                  node.create_topics(wanted, [&node, home, done](const std::string& why) {
                    node.shard(kControllerShard).at(home, [done, why](Broker&) { done(why); });
                  });
                });
              }};
}

void Broker::note_placed(const storage::TopicPartition& id, const Uuid& directory) {
  at_controller([id, directory](Node& there) { there.note_moved(id, directory); });
}

const std::string& Broker::cluster_id() const { return node_.cluster_id(); }

void Broker::at(size_t shard, Task task) {
  if (shard == shard_) {
    return task(*this);
  }
  node_.mailboxes().post(
      shard, [&there = node_.shard(shard), image = image(), task = std::move(task)]() mutable {
        there.follow(image);
        task(there);
      });
}

void Broker::soon(Task task) {
  node_.mailboxes().post(shard_, [this, task = std::move(task)]() mutable { task(*this); });
}

size_t Broker::owner(const std::string& topic, int32_t partition) const {
  if (node_.shard_count() == 1) {
    return shard_;
  }
  const auto found = image()->topic(topic);
  return found == nullptr ? shard_ : owning_shard(found->id, partition, node_.shard_count());
}

size_t Broker::owner(const Uuid& topic_id, int32_t partition) const {
  return owning_shard(topic_id, partition, node_.shard_count());
}

void Broker::at_controller(std::move_only_function<void(Node&)> task) {
  at(kControllerShard, [&node = node_, task = std::move(task)](Broker&) mutable { task(node); });
}

size_t Broker::group_owner(const std::string& group_id) const {
  const auto topic = image()->topic(kOffsetsTopic);
  const auto partition = GroupCoordinator::partition_of(group_id, topic.get());
  return partition ? owner(topic->id, *partition) : shard_;
}

void Broker::with_group(const std::string& group_id,
                        std::move_only_function<void(Result<GroupShard*>, Broker&)> task) {
  at(group_owner(group_id), [group_id, task = std::move(task)](Broker& there) mutable {
    there.with_own_group(group_id,
                         [&](Result<GroupShard*> shard) { task(std::move(shard), there); });
  });
}

void Broker::with_own_group(const std::string& group_id,
                            const std::function<void(Result<GroupShard*>)>& use) {
  const auto topic = image()->topic(kOffsetsTopic);
  const auto partition = GroupCoordinator::partition_of(group_id, topic.get());
  partition ? groups_.with(*partition, use) : use(std::unexpected(partition.error()));
}

size_t Broker::transactions_owner(const std::string& transactional_id) const {
  const auto topic = image()->topic(kTransactionsTopic);
  const auto partition = TransactionCoordinator::partition_of(transactional_id, topic.get());
  return partition ? owner(topic->id, *partition) : shard_;
}

void Broker::with_transactions(
    const std::string& transactional_id,
    std::move_only_function<void(Result<TransactionShard*>, Broker&)> task) {
  at(transactions_owner(transactional_id),
     [transactional_id, task = std::move(task)](Broker& there) mutable {
       there.with_own_transactions(transactional_id, [&](Result<TransactionShard*> shard) {
         task(std::move(shard), there);
       });
     });
}

void Broker::with_own_transactions(const std::string& transactional_id,
                                   const std::function<void(Result<TransactionShard*>)>& use) {
  const auto topic = image()->topic(kTransactionsTopic);
  const auto partition = TransactionCoordinator::partition_of(transactional_id, topic.get());
  partition ? transactions_.with(*partition, use) : use(std::unexpected(partition.error()));
}

std::vector<size_t> Broker::all_shards() const {
  std::vector<size_t> all(node_.shard_count());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

void Broker::warn_of_storage(const Error& error) {
  constexpr int64_t kQuietMs = 10'000;
  if (const int64_t now = clock().monotonic_ms(); now >= quiet_until_ms_) {
    quiet_until_ms_ = now + kQuietMs;
    spdlog::error(
        "cannot write: {}{}", error.why,
        storage::is_disk_full(error) ? "; producers are refused until there is room" : "");
  }
}

void Broker::follow(const ImagePtr& image) {
  if (image->offset > replicas_.image()->offset) {
    const ImagePtr before = replicas_.image();
    follow_config(*image);
    departed_.follow(*before, *image, clock().monotonic_ms());
    replicas_.follow(image);
    fetchers_.follow(before, image);
    if (before->topics != image->topics) {
      groups_.drop_lost();
      shares_->drop_lost();
      transactions_.follow_leaders();
    }
  }
}

void Broker::load(const ImagePtr& image, Homes homes) {
  follow_config(*image);
  replicas_.load(image, std::move(homes));
}

void Broker::follow_config(const replication::MetadataImage& image) {
  if (image.configs != replicas_.image()->configs) {
    config_.follow(
        image.config(replication::ConfigResource::kBroker, ""),
        image.config(replication::ConfigResource::kBroker, std::to_string(config_.node_id())));
  }
}

void Broker::start_background() {
  fetchers_.follow(std::make_shared<replication::MetadataImage>(), image());
  check_isrs();
  transactions_.start();
  shares_->start();
}

// Twice in the time that a follower may lag.
void Broker::check_isrs() {
  timers_.after(clock(), config_.number("replica.lag.time.max.ms") / 2, [this] {
    replicas_.shrink_isrs();
    check_isrs();
  });
}

}  // namespace klamm::broker
