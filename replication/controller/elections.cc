#include "replication/controller/elections.h"

#include <algorithm>
#include <charconv>

#include "protocol/generated/partition_change_record.h"
#include "replication/controller/directories.h"

namespace klamm::replication {
namespace {

constexpr int8_t kRecovered = 0;
constexpr int8_t kRecovering = 1;

bool contains(const std::vector<int32_t>& list, int32_t id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

std::vector<int32_t> without(std::vector<int32_t> list, int32_t id) {
  std::erase(list, id);
  return list;
}

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
      recovery_(before_.recovery_state) {
  const auto feature = image.features.find("eligible.leader.replicas.version");
  elr_enabled_ = feature != image.features.end() && feature->second > 0;
}

bool PartitionChange::is_eligible(int32_t id) const {
  const auto broker = image_.brokers.find(id);
  if (broker == image_.brokers.end() || brokers_.gone.contains(id) ||
      (!brokers_.back.contains(id) &&
       (broker->second.fenced || broker->second.in_controlled_shutdown))) {
    return false;
  }
  const auto replica = std::find(before_.replicas.begin(), before_.replicas.end(), id);
  const auto place = static_cast<size_t>(replica - before_.replicas.begin());
  const auto& directories = directories_ ? *directories_ : before_.directories;
  if (place >= directories.size() || !is_directory(directories[place])) {
    return true;
  }
  const auto& online = broker->second.directories;
  return !brokers_.offline.contains(directories[place]) &&
         (online.empty() ||
          std::find(online.begin(), online.end(), directories[place]) != online.end());
}

bool PartitionChange::may_lead(int32_t id) const {
  return is_eligible(id) && (contains(isr_, id) || (elr_enabled_ && contains(elr_, id)));
}

// Below the minimum, those who left the ISR with everything committed stay eligible (KIP-966).
void PartitionChange::move_to_elr() {
  if (!elr_enabled_) {
    return;
  }
  if (isr_.size() >= static_cast<size_t>(min_isr_of(image_, topic_.name))) {
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
    if (!contains(isr_, id)) {
      (sound ? elr_ : last_known_).push_back(id);
    }
  }
}

int32_t PartitionChange::elect(bool& from_last_known, bool& unclean) const {
  if (preferred_ && may_lead(before_.replicas.front())) {
    return before_.replicas.front();
  }
  if (may_lead(before_.leader)) {
    return before_.leader;
  }
  for (const int32_t id : before_.replicas) {
    if (may_lead(id)) {
      return id;
    }
  }
  if (elr_enabled_ && isr_.empty() && elr_.empty() && last_known_.size() == 1 &&
      is_eligible(last_known_.front())) {
    from_last_known = true;
    return last_known_.front();
  }
  const std::string* const allowed =
      config_of(image_, topic_.name, "unclean.leader.election.enable");
  if (allowed != nullptr && *allowed == "true") {
    for (const int32_t id : before_.replicas) {
      if (is_eligible(id)) {
        unclean = true;
        return id;
      }
    }
  }
  return kNoLeader;
}

std::optional<Bytes> PartitionChange::build() {
  if (isr_ != before_.isr || !brokers_.lost.empty()) {
    move_to_elr();
  }
  bool from_last_known = false;
  bool unclean = false;
  const int32_t leader = elect(from_last_known, unclean);
  if (leader >= 0 && !contains(isr_, leader)) {
    isr_ = {leader};
    elr_ = without(elr_, leader);
    last_known_ = without(last_known_, leader);
    recovery_ = unclean || from_last_known ? kRecovering : kRecovered;
    recovery_ = from_last_known ? kRecovered : recovery_;
    if (elr_enabled_ && isr_.size() >= static_cast<size_t>(min_isr_of(image_, topic_.name))) {
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
  if (directories_) {
    set(record.directories, *directories_, before_.directories);
  }
  if (leader != before_.leader) {
    record.leader = leader;
    changed = true;
  }
  return changed ? std::optional(to_record(record, kPartitionChangeVersion)) : std::nullopt;
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
