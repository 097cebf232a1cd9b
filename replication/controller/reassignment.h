#pragma once
// Moving partitions to other replicas (KIP-455, KIP-860) and elections on demand (KIP-460): pure
// functions from an image and a wish to records.
#include <optional>
#include <string>
#include <vector>

#include "replication/controller/elections.h"
#include "replication/controller/topics.h"

namespace klamm::replication {

enum class ElectionType : int8_t { kPreferred = 0, kUnclean = 1 };

inline bool is_reassigned(const PartitionImage& partition) {
  return !partition.adding.empty() || !partition.removing.empty();
}

// Moves a partition to the `target` replicas, or calls off the move under way when there is no
// target. nullopt when nothing is to be done. UNKNOWN_TOPIC_OR_PARTITION,
// INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR, NO_REASSIGNMENT_IN_PROGRESS.
Result<std::optional<Bytes>> reassign_partition(const MetadataImage& image,
                                                const std::string& topic, int32_t partition,
                                                const std::optional<std::vector<int32_t>>& target,
                                                bool may_change_factor,
                                                const TopicDefaults& defaults);

// UNKNOWN_TOPIC_OR_PARTITION, ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE,
// ELIGIBLE_LEADERS_NOT_AVAILABLE.
Result<Bytes> elect_leader(const MetadataImage& image, const std::string& topic, int32_t partition,
                           ElectionType type);

}  // namespace klamm::replication
