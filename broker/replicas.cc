#include "broker/replicas.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>

#include "protocol/base/check.h"

namespace klamm::broker {

using replication::ConfigResource;
using replication::PartitionImage;
using replication::TopicImage;
using storage::LogDir;
using storage::TopicPartition;

namespace {

constexpr int64_t kRemoveFolderDelayMs = 60'000;

// The directory that serves and holds the fewest logs; null when all have failed.
LogDir* emptiest_of(const std::vector<std::unique_ptr<LogDir>>& dirs, const Homes& homes) {
  std::map<const LogDir*, size_t> load;
  if (dirs.size() > 1) {
    for (const auto& [id, dir] : homes) {
      ++load[dir];
    }
  }
  LogDir* emptiest = nullptr;
  for (const auto& dir : dirs) {
    if (!dir->is_offline() && (emptiest == nullptr || load[dir.get()] < load[emptiest])) {
      emptiest = dir.get();
    }
  }
  return emptiest;
}

}  // namespace

size_t owning_shard(const Uuid& topic_id, int32_t partition, size_t shards) {
  return shards == 1 ? 0 : (std::hash<Uuid>()(topic_id) + static_cast<size_t>(partition)) % shards;
}

void Replicas::load(const ImagePtr& image, Homes homes) {
  image_ = image;
  homes_ = std::move(homes);
}

bool Replicas::has_all_directories() const {
  return std::none_of(dirs_.begin(), dirs_.end(),
                      [](const auto& dir) { return dir->is_offline(); }) &&
         dirs_.size() >= config_.log_dirs().size();
}

// A new log goes where the controller has put it; if it has not, or that is a directory of an
// earlier life and none is missing, to the emptiest.
Result<LogDir*> Replicas::home_for(const TopicPartition& id, const PartitionImage& image) {
  if (const auto known = homes_.find(id); known != homes_.end()) {
    return known->second;
  }
  const auto replica = std::find(image.replicas.begin(), image.replicas.end(), config_.node_id());
  const auto place = static_cast<size_t>(replica - image.replicas.begin());
  Uuid wanted = place < image.directories.size() ? image.directories[place] : Uuid();
  const bool is_here = std::any_of(dirs_.begin(), dirs_.end(), [&wanted](const auto& dir) {
    return dir->directory_id() == wanted;
  });
  if (!is_here && has_all_directories()) {
    wanted = {};
  }
  if (!replication::is_directory(wanted)) {
    if (LogDir* const emptiest = emptiest_of(dirs_, homes_)) {
      return emptiest;
    }
  }
  for (const auto& dir : dirs_) {
    if (dir->directory_id() == wanted) {
      return dir.get();
    }
  }
  return fail(ErrorCode::kKafkaStorageError,
              "the directory of " + id.directory() + " is offline or not configured");
}

Result<Partition*> Replicas::find(const std::string& topic, int32_t partition, bool or_follower) {
  const auto found = image_->topic(topic);
  if (found == nullptr) {
    return fail(ErrorCode::kUnknownTopicOrPartition, "there is no topic " + topic);
  }
  return find(*found, partition, or_follower);
}

Result<Partition*> Replicas::find(const Uuid& topic_id, int32_t partition, bool or_follower) {
  const auto found = image_->topic(topic_id);
  if (found == nullptr) {
    return fail(ErrorCode::kUnknownTopicId, "there is no topic with this id");
  }
  return find(*found, partition, or_follower);
}

Result<Partition*> Replicas::find(const TopicImage& topic, int32_t partition, bool or_follower) {
  TRY(Partition* const replica, find_replica(topic, partition));
  if (!replica->is_leader() && !or_follower) {
    return fail(ErrorCode::kNotLeaderOrFollower, "this broker does not lead the partition");
  }
  return replica;
}

Result<Partition*> Replicas::find_replica(const TopicPartition& id) {
  const auto found = image_->topic(id.topic);
  if (found == nullptr) {
    return fail(ErrorCode::kUnknownTopicOrPartition, "there is no topic " + id.topic);
  }
  return find_replica(*found, id.partition);
}

bool Replicas::is_replica(const PartitionImage& image) const {
  return std::find(image.replicas.begin(), image.replicas.end(), config_.node_id()) !=
         image.replicas.end();
}

Result<Partition*> Replicas::find_replica(const TopicImage& topic, int32_t partition) {
  const Key key{topic.id, partition};
  if (const auto open = partitions_.find(key); open != partitions_.end()) {
    if (open->second.home->is_offline()) {
      return fail(ErrorCode::kKafkaStorageError,
                  "the log directory " + open->second.home->path() + " is offline");
    }
    return open->second.partition.get();
  }
  if (const auto opening = opening_.find(key); opening != opening_.end()) {
    const auto under_way = opening->second;
    under_way->ticket->wait();
    return install(key, *under_way, {});
  }
  TRY(auto opening, prepare(topic, partition));
  const auto outcome = opening.run();
  return install(key, opening, outcome);
}

Result<Replicas::Opening> Replicas::prepare(const TopicImage& topic, int32_t partition) {
  const auto image = topic.partitions.find(partition);
  if (image == topic.partitions.end()) {
    return fail(ErrorCode::kUnknownTopicOrPartition,
                "topic " + topic.name + " has no partition " + std::to_string(partition));
  }
  CHECK_INVARIANT(owns(topic.id, partition));
  if (!is_replica(image->second)) {
    return fail(ErrorCode::kNotLeaderOrFollower, "this broker has no replica of the partition");
  }
  const TopicPartition id{topic.name, partition};
  if (leaving_.contains(id)) {
    return fail(ErrorCode::kNotLeaderOrFollower,
                "the log of a deleted topic named " + topic.name + " is still being closed");
  }
  TRY(LogDir* const home, home_for(id, image->second));
  homes_[id] = home;
  return Opening{
      .id = id,
      .topic_id = topic.id,
      .home = home,
      .configs = image_->configs,
      .config = resolve_log_config(config_, image_->config(ConfigResource::kTopic, topic.name)),
      .options = {.recovery_point = home->recovery_point(id),
                  .log_start_offset = home->log_start_offset(id),
                  .cleaned_to = home->cleaned_to(id),
                  .clean = home->was_clean(),
                  .now_ms = clock_.wall_ms()}};
}

Result<> Replicas::Opening::run() {
  storage::Disk& disk = home->disk();
  const std::string folder = home->folder_of(id);
  const std::string metadata = folder + "/partition.metadata";
  Result<Uuid> known = fail(ErrorCode::kKafkaStorageError, "");
  if (disk.exists(metadata)) {
    TRY(const std::string text, disk.read_file(metadata));
    known = storage::parse_partition_metadata(text);
  }
  if (known && *known != topic_id) {
    return fail(ErrorCode::kInconsistentTopicId, folder + " belongs to another topic of this name");
  }
  // A file that cannot be read was never synced, and neither was anything of the log.
  if (!known) {
    // The checkpoints may know a topic of this name that is gone.
    options = {.clean = options.clean, .now_ms = options.now_ms};
    TRY_VOID(disk.make_dirs(folder));
    // The log's first flush syncs it.
    TRY_VOID(disk.write_file(metadata, storage::format_partition_metadata(topic_id)));
  }
  TRY(log, storage::Log::open(disk, folder, config, options));
  return {};
}

// Whoever comes first takes the log, be it the one who waited or the message that it is done.
Result<Partition*> Replicas::install(const Key& key, Opening& opening, const Result<>& outcome) {
  opening_.erase(key);
  if (opening.log == nullptr) {
    return outcome
               ? fail(ErrorCode::kKafkaStorageError, opening.id.directory() + " cannot be opened")
               : std::unexpected(outcome.error());
  }
  const PartitionImage* image = image_->partition(opening.id.topic, key.partition);
  if (image == nullptr) {
    return fail(ErrorCode::kUnknownTopicOrPartition, "the topic has been deleted");
  }
  opening.log->share(open_files_);
  auto partition = std::make_shared<Partition>(
      opening.id, opening.topic_id, std::move(opening.log), background_,
      replication::PartitionOptions{
          .node_id = config_.node_id(),
          .high_watermark = opening.home->high_watermark(opening.id),
          .lag_time_max_ms = config_.number("replica.lag.time.max.ms"),
          .on_synced = [this] { on_synced_(); },
          .propose = [this](const replication::IsrProposal& proposal) { propose_(proposal); },
          .is_eligible = [this](int32_t id, int64_t epoch) { return is_eligible(id, epoch); }});
  if (opening.configs != image_->configs) {
    partition->log().set_config(
        resolve_log_config(config_, image_->config(ConfigResource::kTopic, opening.id.topic)));
  }
  update(*partition, *image);
  const auto replica = std::find(image->replicas.begin(), image->replicas.end(), config_.node_id());
  const auto place = static_cast<size_t>(replica - image->replicas.begin());
  if (place < image->directories.size() &&
      image->directories[place] != opening.home->directory_id()) {
    placed_(opening.id, opening.home->directory_id());
  }
  return (partitions_[key] = {std::move(partition), opening.home}).partition.get();
}

void Replicas::open_in_background(const TopicPartition& id,
                                  std::move_only_function<void(Result<bool>)> done) {
  const auto topic = image_->topic(id.topic);
  if (topic == nullptr) {
    return done(false);
  }
  const Key key{topic->id, id.partition};
  if (partitions_.contains(key) || opening_.contains(key)) {
    return done(false);
  }
  auto prepared = prepare(*topic, id.partition);
  if (!prepared) {
    return done(std::unexpected(prepared.error()));
  }
  const auto opening = std::make_shared<Opening>(std::move(*prepared));
  opening_[key] = opening;
  opening->ticket = background_.run(
      [opening] { return opening->run(); },
      [this, key, opening, done = std::move(done)](const Result<>& outcome) mutable {
        const auto pending = opening_.find(key);
        if (pending == opening_.end() || pending->second != opening) {
          if (opening->is_unwanted) {
            leave(opening->id);
          }
          return done(true);
        }
        const auto installed = install(key, *opening, outcome);
        done(installed ? Result<bool>(true) : std::unexpected(installed.error()));
      });
}

void Replicas::follow(const ImagePtr& now) {
  const ImagePtr before = std::exchange(image_, now);
  const bool begins_to_lead = may_lead(*now) != may_lead(*before);
  if (before->topics != now->topics || begins_to_lead) {
    for (const auto& [id, topic] : before->topics->by_id) {
      if (!now->topics->by_id.contains(id)) {
        remove_topic(*topic);
      }
    }
    for (const auto& [id, topic] : now->topics->by_id) {
      const auto known = before->topics->by_id.find(id);
      if (known == before->topics->by_id.end() || known->second != topic || begins_to_lead) {
        update(*topic);
      }
    }
  }
  if (before->configs != now->configs) {
    for (auto& [key, open] : partitions_) {
      open.partition->log().set_config(resolve_log_config(
          config_, now->config(ConfigResource::kTopic, open.partition->id().topic)));
    }
  }
}

// What the image says of a topic's replicas here. Those that have gone to other brokers go away.
void Replicas::update(const TopicImage& topic) {
  for (const auto& [index, image] : topic.partitions) {
    if (!owns(topic.id, index)) {
      continue;
    }
    if (!is_replica(image)) {
      remove({topic.name, index}, topic.id);
    } else if (const auto open = partitions_.find({topic.id, index}); open != partitions_.end()) {
      update(*open->second.partition, image);
    }
  }
}

bool Replicas::may_lead(const replication::MetadataImage& image) const {
  const auto self = image.brokers.find(config_.node_id());
  return incarnation_.is_zero() ||
         (self != image.brokers.end() && self->second.incarnation == incarnation_);
}

void Replicas::update(Partition& partition, const PartitionImage& image) {
  if (image.leader != config_.node_id() || may_lead(*image_)) {
    return partition.update(image, clock_.monotonic_ms());
  }
  PartitionImage without_leader = image;
  without_leader.leader = replication::kNoLeader;
  partition.update(without_leader, clock_.monotonic_ms());
}

bool Replicas::is_eligible(int32_t id, int64_t epoch) const {
  const auto broker = image_->brokers.find(id);
  return broker != image_->brokers.end() && is_active(broker->second) &&
         (epoch < 0 || epoch == broker->second.epoch);
}

// The folder keeps its name while something works in it in the background: that would go wrong, or
// on in the folder of the next topic of that name.
void Replicas::remove(const TopicPartition& id, const Uuid& topic_id) {
  if (leaving_.contains(id)) {
    return;
  }
  const Key key{topic_id, id.partition};
  if (const auto opening = opening_.find(key); opening != opening_.end()) {
    opening->second->is_unwanted = true;
    opening_.erase(opening);
    leaving_[id] = nullptr;
    return;
  }
  if (const auto open = partitions_.find(key); open != partitions_.end()) {
    const auto partition = std::move(open->second.partition);
    partitions_.erase(open);
    partition->shut_down(ErrorCode::kUnknownTopicOrPartition);
    if (partition->is_flushing()) {
      leaving_[id] = partition;
      return partition->when_flushed([this, id] { leave(id); });
    }
  }
  leave(id);
}

void Replicas::leave(const TopicPartition& id) {
  leaving_.erase(id);
  if (const auto home = homes_.find(id); home != homes_.end()) {
    mark_deleted(id, *home->second);
    homes_.erase(home);
  }
}

void Replicas::remove_topic(const TopicImage& topic) {
  for (const auto& [index, unused] : topic.partitions) {
    remove({topic.name, index}, topic.id);
  }
}

void Replicas::shrink_isrs() {
  for (auto& [key, open] : partitions_) {
    open.partition->shrink_isr(clock_.monotonic_ms());
  }
}

bool Replicas::is_stray(const TopicPartition& id, LogDir& dir) const {
  const auto topic = image_->topic(id.topic);
  const PartitionImage* const partition = image_->partition(id.topic, id.partition);
  if (partition == nullptr || !is_replica(*partition)) {
    return true;
  }
  // What is being opened may have no metadata file yet.
  if (const auto opening = opening_.find({topic->id, id.partition}); opening != opening_.end()) {
    opening->second->ticket->wait();
  }
  const auto text = dir.disk().read_file(dir.folder_of(id) + "/partition.metadata");
  const auto known = text ? storage::parse_partition_metadata(*text) : Result<Uuid>(topic->id);
  return !known || *known != topic->id;
}

void Replicas::drop_strays() {
  for (auto home = homes_.begin(); home != homes_.end();) {
    const auto& [id, dir] = *home;
    if (dir->is_offline() || leaving_.contains(id) || !is_stray(id, *dir)) {
      ++home;
      continue;
    }
    const auto kept = dir->mark_stray(id, random_);
    spdlog::warn("{} belongs to no replica of this broker; {}", dir->folder_of(id),
                 kept ? "it is " + *kept + " now" : kept.error().why);
    home = homes_.erase(home);
  }
}

void Replicas::mark_deleted(const TopicPartition& id, LogDir& home) {
  if (!home.disk().exists(home.folder_of(id))) {
    return;
  }
  if (auto marked = home.mark_deleted(id, random_)) {
    removals_.push_back({&home, *marked, clock_.monotonic_ms() + kRemoveFolderDelayMs});
  } else {
    spdlog::error("cannot delete {}: {}", id.directory(), marked.error().why);
  }
}

// Between the two renames both folders have the partition's name; the next start keeps the one that
// the metadata say.
Result<> Replicas::take_over(Partition& partition, std::unique_ptr<storage::Log> copy, LogDir& to) {
  const TopicPartition id = partition.id();
  TRY_VOID(copy->rename_folder(to.folder_of(id)));
  TRY_VOID(to.disk().write_file(to.folder_of(id) + "/partition.metadata",
                                storage::format_partition_metadata(partition.topic_id())));
  TRY_VOID(to.disk().sync_dir(to.path()));
  copy->share(open_files_);
  partition.replace_log(std::move(copy));
  LogDir& from = *std::exchange(homes_[id], &to);
  partitions_[{partition.topic_id(), id.partition}].home = &to;
  mark_deleted(id, from);
  return {};
}

int64_t Replicas::size_of(const TopicPartition& id) {
  const auto topic = image_->topic(id.topic);
  const auto home = homes_.find(id);
  if (topic == nullptr || home == homes_.end()) {
    return 0;
  }
  if (Partition* const open = find_open(topic->id, id.partition)) {
    return static_cast<int64_t>(open->log().size());
  }
  storage::Disk& disk = home->second->disk();
  const std::string folder = home->second->folder_of(id);
  const auto names = disk.list(folder);
  int64_t size = 0;
  for (const auto& name : names ? *names : std::vector<std::string>()) {
    if (name.ends_with(".log")) {
      std::string path = folder;
      path.append("/").append(name);
      size += static_cast<int64_t>(disk.size_of(path).value_or(0));
    }
  }
  return size;
}

Partition* Replicas::find_open(const Uuid& topic_id, int32_t partition) {
  const auto open = partitions_.find({topic_id, partition});
  return open == partitions_.end() || open->second.home->is_offline()
             ? nullptr
             : open->second.partition.get();
}

std::vector<Partition*> Replicas::compacted() {
  std::vector<Partition*> found;
  for (const auto& [name, topic] : image_->topics->by_name) {
    const auto config = resolve_log_config(config_, image_->config(ConfigResource::kTopic, name));
    for (const auto& [index, unused] : topic->partitions) {
      if (!config.cleanup_compact || !owns(topic->id, index)) {
        continue;
      }
      if (!is_replica(topic->partitions.at(index))) {
        continue;
      }
      if (const auto partition = find_replica(*topic, index)) {
        found.push_back(*partition);
      }
    }
  }
  return found;
}

std::vector<TopicPartition> Replicas::known() const {
  std::vector<TopicPartition> ids;
  for (const auto& [id, home] : homes_) {
    ids.push_back(id);
  }
  return ids;
}

void Replicas::housekeep(const TopicPartition& id, int64_t producer_expiry_ms) {
  const auto topic = image_->topic(id.topic);
  const auto home = homes_.find(id);
  if (topic == nullptr || home == homes_.end() || home->second->is_offline()) {
    return;
  }
  const bool was_open = partitions_.contains({topic->id, id.partition});
  const auto found = find_replica(*topic, id.partition);
  if (!found) {
    return;
  }
  storage::Log& log = (*found)->log();
  const auto state = [&log] {
    return std::tuple(log.start_offset(), log.end_offset(), log.segment_count());
  };
  const auto before = state();
  const int64_t now = clock_.wall_ms();
  const auto done = log.housekeep((*found)->high_watermark(), now, producer_expiry_ms);
  if (!done) {
    spdlog::error("housekeeping of {}: {}", id.directory(), done.error().why);
  }
  (*found)->flush_if_due(now);
  if (!was_open && home->second->was_clean() && state() == before && !(*found)->is_flushing()) {
    partitions_.erase({topic->id, id.partition});
  }
}

void Replicas::remove_deleted() {
  std::erase_if(removals_, [&](const Removal& removal) {
    if (removal.due_ms > clock_.monotonic_ms()) {
      return false;
    }
    background_.run([disk = &removal.dir->disk(),
                     folder = removal.folder] { return disk->remove_tree(folder); },
                    [folder = removal.folder](const Result<>& removed) {
                      if (!removed) {
                        spdlog::error("cannot remove {}: {}", folder, removed.error().why);
                      }
                    });
    return true;
  });
}

void Replicas::drop_offline() {
  for (auto& [key, open] : partitions_) {
    if (open.home->is_offline()) {
      open.partition->shut_down(ErrorCode::kKafkaStorageError);
    }
  }
}

DirOffsets Replicas::offsets() const {
  DirOffsets offsets;
  for (const auto& [id, dir] : homes_) {
    // A log that was not opened is where the last checkpoint left it.
    auto& of_dir = offsets[dir];
    of_dir.recovery_points[id] = dir->recovery_point(id);
    of_dir.high_watermarks[id] = dir->high_watermark(id);
    if (const int64_t cleaned = dir->cleaned_to(id); cleaned > 0) {
      of_dir.cleaned[id] = cleaned;
    }
    if (const int64_t start = dir->log_start_offset(id); start > 0) {
      of_dir.start_offsets[id] = start;
    }
  }
  for (const auto& [key, open] : partitions_) {
    auto& of_dir = offsets[open.home];
    const storage::Log& log = open.partition->log();
    const TopicPartition& id = open.partition->id();
    of_dir.recovery_points[id] = log.recovery_point();
    of_dir.high_watermarks[id] = open.partition->high_watermark();
    if (log.config().cleanup_compact && log.cleaned_to() > 0) {
      of_dir.cleaned[id] = log.cleaned_to();
    }
    if (log.start_offset() > 0) {
      of_dir.start_offsets[id] = log.start_offset();
    }
  }
  return offsets;
}

std::set<LogDir*> Replicas::close() {
  std::set<LogDir*> unclean;
  for (auto& [key, open] : partitions_) {
    if (open.home->is_offline()) {
      unclean.insert(open.home);
    } else if (const auto closed = open.partition->log().close(); !closed) {
      spdlog::error("cannot close {}: {}", open.partition->id().directory(), closed.error().why);
      unclean.insert(open.home);
    }
  }
  for (const auto& [id, home] : homes_) {
    const auto topic = image_->topic(id.topic);
    // A log that nobody has verified since the last crash waits for the next start; also one of a
    // topic that this node has not heard of yet.
    if (!home->was_clean() &&
        (topic == nullptr || !partitions_.contains({topic->id, id.partition}))) {
      unclean.insert(home);
    }
  }
  return unclean;
}

}  // namespace klamm::broker
