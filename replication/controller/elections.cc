#include "replication/controller/elections.h"

#include <algorithm>
#include <charconv>

#include "protocol/generated/partition_change_record.h"
#include "replication/controller/directories.h"
#include "replication/metadata/features.h"
#include "replication/metadata/replica_list.h"

namespace klamm::replication {
namespace {

constexpr int8_t kRecovered = 0;
constexpr int8_t kRecovering = 1;

const std::string* config_of(const MetadataImage& image, const std::string& topic,
                             const std::string& name) {
  for (const auto& [type, resource] : {std::pair(ConfigResource::kTopic, topic),
                                       std::pair(ConfigResource::kBroker, std::string())}) {
    const auto& entries = image.config(type, resource);
    if (const auto found = entries.find(name); found != entries.end()) {
      return &found->second;
    }
  }
  return nullptr;
}

}  // namespace

int32_t min_isr_of(const MetadataImage& image, const std::string& topic) {
  int32_t value = 1;
  if (const std::string* const text = config_of(image, topic, "min.insync.replicas")) {
    std::from_chars(text->data(), text->data() + text->size(), value);
  }
  return value;
}

bool allows_unclean(const MetadataImage& image, const std::string& topic) {
  const std::string* const value = config_of(image, topic, "unclean.leader.election.enable");
  return value != nullptr && *value == "true";
}

PartitionChange::PartitionChange(const MetadataImage& image, const TopicImage& topic, int32_t index,
                                 BrokerChanges brokers)
    : image_(image),
      topic_(topic),
      index_(index),
      before_(topic.partitions.at(index)),
      brokers_(std::move(brokers)),
      isr_(before_.isr),
      elr_(before_.elr),
      last_known_(before_.last_known_elr),
      replicas_(before_.replicas),
      adding_(before_.adding),
      removing_(before_.removing),
      directories_(before_.directories),
      recovery_(before_.recovery_state) {
  elr_enabled_ = elr_is_enabled(image);
}

bool PartitionChange::is_eligible(int32_t id) const {
  const auto broker = image_.brokers.find(id);
  if (broker == image_.brokers.end() || brokers_.gone.contains(id) ||
      (!brokers_.back.contains(id) && !is_active(broker->second))) {
    return false;
  }
  const auto place =
      static_cast<size_t>(std::find(replicas_.begin(), replicas_.end(), id) - replicas_.begin());
  if (place >= directories_.size() || !is_directory(directories_[place])) {
    return true;
  }
  const auto& online = broker->second.directories;
  return !brokers_.offline.contains(directories_[place]) &&
         (online.empty() ||
          std::find(online.begin(), online.end(), directories_[place]) != online.end());
}

bool PartitionChange::may_lead(int32_t id) const {
  return is_eligible(id) && (contains(isr_, id) || (elr_enabled_ && contains(elr_, id)));
}

size_t PartitionChange::min_isr() const {
  return std::min(static_cast<size_t>(std::max(min_isr_of(image_, topic_.name), 1)),
                  replicas_.size());
}

void PartitionChange::reassign(std::vector<int32_t> replicas, std::vector<int32_t> adding,
                               std::vector<int32_t> removing,
                               const std::function<Uuid(int32_t)>& directory) {
  std::vector<Uuid> directories;
  for (const int32_t id : replicas) {
    const auto place =
        static_cast<size_t>(std::find(replicas_.begin(), replicas_.end(), id) - replicas_.begin());
    directories.push_back(place < directories_.size() ? directories_[place] : directory(id));
  }
  replicas_ = std::move(replicas);
  directories_ = std::move(directories);
  adding_ = std::move(adding);
  removing_ = std::move(removing);
}

// Not before the new replicas are in sync, nor while a smaller set would leave fewer in sync.
void PartitionChange::complete_reassignment() {
  if (adding_.empty() && removing_.empty()) {
    return;
  }
  std::vector<int32_t> isr = without(isr_, removing_);
  std::vector<int32_t> replicas;
  std::vector<Uuid> directories;
  for (size_t i = 0; i < replicas_.size(); ++i) {
    if (!contains(removing_, replicas_[i])) {
      replicas.push_back(replicas_[i]);
      directories.push_back(i < directories_.size() ? directories_[i] : Uuid());
    }
  }
  if (isr.empty() || replicas.empty() || !contains_all(isr, adding_) ||
      (adding_.size() < removing_.size() && !contains_all(isr, replicas))) {
    return;
  }
  isr_ = std::move(isr);
  replicas_ = std::move(replicas);
  directories_ = std::move(directories);
  adding_.clear();
  removing_.clear();
}

// Below the minimum, those who left the ISR with everything committed stay eligible (KIP-966).
void PartitionChange::move_to_elr() {
  if (!elr_enabled_) {
    return;
  }
  if (isr_.size() >= min_isr()) {
    elr_.clear();
    last_known_.clear();
    return;
  }
  std::set<int32_t> candidates(before_.isr.begin(), before_.isr.end());
  candidates.insert(before_.elr.begin(), before_.elr.end());
  std::set<int32_t> known = candidates;
  known.insert(before_.last_known_elr.begin(), before_.last_known_elr.end());
  elr_.clear();
  last_known_.clear();
  for (const int32_t id : known) {
    const bool sound = candidates.contains(id) && !brokers_.lost.contains(id);
    if (!contains(isr_, id) && contains(replicas_, id)) {
      (sound ? elr_ : last_known_).push_back(id);
    }
  }
}

int32_t PartitionChange::elect(bool& from_last_known, bool& unclean) const {
  if (preferred_ && may_lead(replicas_.front())) {
    return replicas_.front();
  }
  if (may_lead(before_.leader)) {
    return before_.leader;
  }
  for (const int32_t id : replicas_) {
    if (may_lead(id)) {
      return id;
    }
  }
  if (elr_enabled_ && isr_.empty() && elr_.empty() && last_known_.size() == 1 &&
      is_eligible(last_known_.front())) {
    from_last_known = true;
    return last_known_.front();
  }
  if (unclean_ || allows_unclean(image_, topic_.name)) {
    for (const int32_t id : replicas_) {
      if (is_eligible(id)) {
        unclean = true;
        return id;
      }
    }
  }
  return kNoLeader;
}

std::optional<Bytes> PartitionChange::build() {
  complete_reassignment();
  if (isr_ != before_.isr || !brokers_.lost.empty()) {
    move_to_elr();
  }
  bool from_last_known = false;
  bool unclean = false;
  leader_ = elect(from_last_known, unclean);
  if (leader_ >= 0 && !contains(isr_, leader_)) {
    isr_ = {leader_};
    elr_ = without(elr_, leader_);
    last_known_ = without(last_known_, leader_);
    recovery_ = unclean || from_last_known ? kRecovering : kRecovered;
    recovery_ = from_last_known ? kRecovered : recovery_;
    if (elr_enabled_ && isr_.size() >= min_isr()) {
      elr_.clear();
      last_known_.clear();
    }
  }
  if (isr_.empty() && !elr_enabled_) {
    isr_ = before_.isr;  // the last one in sync stays in it
  }
  if (isr_.empty() && elr_.empty() && last_known_.empty() && before_.leader >= 0) {
    last_known_ = {before_.leader};
  }
  protocol::PartitionChangeRecord record;
  record.partition_id = index_;
  record.topic_id = topic_.id;
  bool changed = false;
  const auto set = [&changed](auto& field, const auto& now, const auto& then) {
    if (now != then) {
      field = now;
      changed = true;
    }
  };
  set(record.isr, isr_, before_.isr);
  set(record.eligible_leader_replicas, elr_, before_.elr);
  set(record.last_known_elr, last_known_, before_.last_known_elr);
  set(record.leader_recovery_state, recovery_, before_.recovery_state);
  set(record.replicas, replicas_, before_.replicas);
  set(record.adding_replicas, adding_, before_.adding);
  set(record.removing_replicas, removing_, before_.removing);
  set(record.directories, directories_, before_.directories);
  // A replica that goes must not go on acknowledging in the old epoch.
  begins_epoch_ = leader_ != before_.leader || !contains_all(replicas_, before_.replicas);
  if (begins_epoch_) {
    record.leader = leader_;
  }
  return changed || begins_epoch_ ? std::optional(to_record(record, kPartitionChangeVersion))
                                  : std::nullopt;
}

std::vector<Bytes> without_broker(const MetadataImage& image, int32_t broker,
                                  const BrokerChanges& changes) {
  std::vector<Bytes> records;
  for (const auto& [name, topic] : image.topics->by_name) {
    for (const auto& [index, partition] : topic->partitions) {
      const bool concerned = partition.leader == broker || contains(partition.isr, broker) ||
                             (changes.lost.contains(broker) && contains(partition.elr, broker));
      if (!concerned) {
        continue;
      }
      PartitionChange change(image, *topic, index, changes);
      change.set_isr(without(partition.isr, broker));
      if (auto record = change.build()) {
        records.push_back(std::move(*record));
      }
    }
  }
  return records;
}

std::vector<Bytes> with_broker(const MetadataImage& image, int32_t broker,
                               const BrokerChanges& changes) {
  std::vector<Bytes> records;
  for (const auto& [name, topic] : image.topics->by_name) {
    for (const auto& [index, partition] : topic->partitions) {
      if (partition.leader != kNoLeader || !contains(partition.replicas, broker)) {
        continue;
      }
      if (auto record = PartitionChange(image, *topic, index, changes).build()) {
        records.push_back(std::move(*record));
      }
    }
  }
  return records;
}

std::vector<Bytes> prefer_first_replicas(const MetadataImage& image, size_t count_max) {
  std::vector<Bytes> records;
  for (const auto& [name, topic] : image.topics->by_name) {
    for (const auto& [index, partition] : topic->partitions) {
      if (records.size() == count_max) {
        return records;
      }
      if (partition.replicas.empty() || partition.leader == partition.replicas.front() ||
          !contains(partition.isr, partition.replicas.front())) {
        continue;
      }
      PartitionChange change(image, *topic, index);
      change.prefer_first();
      if (auto record = change.build()) {
        records.push_back(std::move(*record));
      }
    }
  }
  return records;
}

bool leads_any(const MetadataImage& image, int32_t broker) {
  for (const auto& [name, topic] : image.topics->by_name) {
    for (const auto& [index, partition] : topic->partitions) {
      if (partition.leader == broker) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace klamm::replication
