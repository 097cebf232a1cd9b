#include "broker/sim/onlooker.h"

#include "replication/metadata/replica_list.h"

namespace klamm::broker::sim {

using replication::MetadataImage;
using replication::PartitionImage;
using replication::TopicImage;

namespace {

constexpr int64_t kEveryMs = 5;

}  // namespace

void Onlooker::start() {
  look();
  cluster_.after(kEveryMs, [this] { start(); });
}

void Onlooker::say(const TopicImage& topic, int32_t index, const std::string& what) {
  if (wrong_.empty()) {
    wrong_ = "at " + std::to_string(cluster_.now_ms()) + " ms, " + topic.name + "-" +
             std::to_string(index) + ": " + what;
  }
}

Node* Onlooker::in_office(const MetadataImage& image, int32_t broker) {
  const auto known = image.brokers.find(broker);
  Node* const node = cluster_.node(static_cast<size_t>(broker - 1));
  const bool is_same = node != nullptr && known != image.brokers.end() && !known->second.fenced &&
                       known->second.epoch == node->broker_epoch();
  return is_same ? node : nullptr;
}

// Of a log that was only just opened it is not known how much of it an earlier life has synced.
bool Onlooker::has_synced(const Partition& replica) {
  auto& known = synced_once_[&replica];
  if (known.expired()) {  // another one was in its place
    known = replica.log().recovery_point() == replica.log().end_offset()
                ? replica.weak_from_this()
                : std::weak_ptr<const Partition>();
  }
  return !known.expired();
}

// By the newest metadata that any node has.
void Onlooker::look() {
  replication::ImagePtr newest;
  for (size_t i = 0; i < cluster_.size(); ++i) {
    Node* const node = cluster_.node(i);
    if (node != nullptr && (newest == nullptr || node->image()->offset > newest->offset)) {
      newest = node->image();
    }
  }
  if (newest == nullptr) {
    return;
  }
  for (const auto& [name, topic] : newest->topics->by_name) {
    for (const auto& [index, partition] : topic->partitions) {
      look_at(*newest, *topic, index);
      judge_move(*topic, index);
    }
  }
}

void Onlooker::look_at(const MetadataImage& image, const TopicImage& topic, int32_t index) {
  const PartitionImage& partition = topic.partitions.at(index);
  Node* const leading = partition.leader < 1 ? nullptr : in_office(image, partition.leader);
  const Partition* const leader =
      leading == nullptr ? nullptr : leading->shard(0).replicas().find_open(topic.id, index);
  if (leader == nullptr || !leader->is_leader() ||
      leader->leader_epoch() != partition.leader_epoch) {
    return;
  }
  const int64_t committed = leader->high_watermark();
  for (const auto* const members : {&partition.isr, &partition.elr}) {
    for (const int32_t id : *members) {
      Node* const node = in_office(image, id);
      const Partition* const replica =
          node == nullptr ? nullptr : node->shard(0).replicas().find_open(topic.id, index);
      if (replica == nullptr) {
        continue;
      }
      const int64_t has = synced_ && has_synced(*replica) ? replica->log().recovery_point()
                                                          : replica->log().end_offset();
      const int64_t last = committed - 1;
      if (has < committed) {
        say(topic, index,
            "broker " + std::to_string(id) + " may be elected and has records to " +
                std::to_string(replica->log().end_offset()) + ", synced to " +
                std::to_string(replica->log().recovery_point()) + "; broker " +
                std::to_string(partition.leader) + " has committed to " +
                std::to_string(committed));
      } else if (replica->log().epochs().epoch_at(last) != leader->log().epochs().epoch_at(last)) {
        say(topic, index,
            "broker " + std::to_string(id) + " may be elected and has another record at " +
                std::to_string(last) + " than broker " + std::to_string(partition.leader) +
                " has committed");
      }
    }
  }
}

// Of a change that came alone: of several it cannot be told which ended the move.
void Onlooker::judge_move(const TopicImage& topic, int32_t index) {
  const PartitionImage& now = topic.partitions.at(index);
  const auto [known, is_new] = before_.try_emplace({topic.id, index}, now);
  const PartitionImage before = std::exchange(known->second, now);
  if (is_new || before.adding.empty() || !now.adding.empty() || !now.removing.empty() ||
      now.partition_epoch != before.partition_epoch + 1 ||
      !replication::contains_all(now.replicas, before.adding)) {
    return;
  }
  if (!replication::contains_all(now.isr, before.adding)) {
    say(topic, index, "a move was over before all its new replicas were in sync");
  }
}

}  // namespace klamm::broker::sim
