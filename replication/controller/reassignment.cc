#include "replication/controller/reassignment.h"

#include <algorithm>

#include "replication/metadata/replica_list.h"

namespace klamm::replication {
namespace {

using Ids = std::vector<int32_t>;

// In ascending order, as the reference's records have them.
Ids sorted(Ids ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

Result<TopicPtr> find(const MetadataImage& image, const std::string& topic, int32_t partition) {
  auto found = image.topic(topic);
  if (found == nullptr) {
    return fail(ErrorCode::kUnknownTopicOrPartition, "There is no topic named " + topic + ".");
  }
  if (!found->partitions.contains(partition)) {
    return fail(ErrorCode::kUnknownTopicOrPartition,
                "Topic " + topic + " has no partition " + std::to_string(partition) + ".");
  }
  return found;
}

// Back to the replicas that the partition had.
Result<std::optional<Bytes>> call_off(const MetadataImage& image, const TopicImage& topic,
                                      int32_t index, const TopicDefaults& defaults) {
  const PartitionImage& partition = topic.partitions.at(index);
  if (!is_reassigned(partition)) {
    return fail(ErrorCode::kNoReassignmentInProgress, "No partition reassignment is in progress.");
  }
  const Ids replicas = without(partition.replicas, partition.adding);
  Ids isr = without(partition.isr, partition.adding);
  if (isr.empty()) {
    if (replicas.empty() || !allows_unclean(image, topic.name)) {
      return fail(ErrorCode::kInvalidReplicaAssignment,
                  "The reassignment of " + topic.name + "-" + std::to_string(index) +
                      " cannot be called off: only replicas that it added are in sync, and "
                      "unclean.leader.election.enable is not true for the topic.");
    }
    isr = {replicas.front()};
  }
  PartitionChange change(image, topic, index);
  change.set_isr(std::move(isr));
  change.reassign(replicas, {}, {}, defaults.directory);
  return change.build();
}

}  // namespace

Result<std::optional<Bytes>> reassign_partition(const MetadataImage& image,
                                                const std::string& topic, int32_t partition,
                                                const std::optional<Ids>& target,
                                                bool may_change_factor,
                                                const TopicDefaults& defaults) {
  TRY(const auto found, find(image, topic, partition));
  if (!target) {
    return call_off(image, *found, partition, defaults);
  }
  TRY_VOID(check_replicas(image, *target));
  const PartitionImage& now = found->partitions.at(partition);
  const size_t factor = now.replicas.size() - now.removing.size();
  if (!may_change_factor && target->size() != factor) {
    return fail(ErrorCode::kInvalidReplicationFactor,
                "The reassignment would change the replication factor from " +
                    std::to_string(factor) + " to " + std::to_string(target->size()) + ".");
  }
  const Ids removing = sorted(without(now.replicas, *target));
  Ids replicas = *target;
  replicas.insert(replicas.end(), removing.begin(), removing.end());
  PartitionChange change(image, *found, partition);
  change.reassign(std::move(replicas), sorted(without(*target, now.replicas)), removing,
                  defaults.directory);
  return change.build();
}

Result<Bytes> elect_leader(const MetadataImage& image, const std::string& topic, int32_t partition,
                           ElectionType type) {
  TRY(const auto found, find(image, topic, partition));
  const PartitionImage& now = found->partitions.at(partition);
  const bool prefers = type == ElectionType::kPreferred;
  if (prefers ? now.leader == now.replicas.front() : now.leader != kNoLeader) {
    return fail(ErrorCode::kElectionNotNeeded, "The partition needs no election.");
  }
  PartitionChange change(image, *found, partition);
  prefers ? change.prefer_first() : change.allow_unclean();
  auto record = change.build();
  if (!record) {
    return prefers ? fail(ErrorCode::kPreferredLeaderNotAvailable,
                          "The preferred replica is not in sync or not alive.")
                   : fail(ErrorCode::kEligibleLeadersNotAvailable, "No replica is alive.");
  }
  return std::move(*record);
}

}  // namespace klamm::replication
