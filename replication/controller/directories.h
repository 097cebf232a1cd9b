#pragma once
// Which log directory of its broker a replica lies in (KIP-858): pure functions from an image to
// records.
#include <set>
#include <string>
#include <vector>

#include "replication/metadata/delta.h"
#include "replication/metadata/image.h"

namespace klamm::replication {

// Of the PartitionChangeRecords that the controller writes.
inline constexpr int16_t kPartitionChangeVersion = 2;

// The ids of the log directories that a broker has online.
using Directories = std::set<Uuid>;
// Where the replica of `broker` lies is online, or not assigned yet (KIP-858).
bool is_online(const PartitionImage& partition, int32_t broker, const Directories& online);

// Directories of a broker have failed: what it leads there loses its leader. The last one in sync
// stays in the ISR.
std::vector<Bytes> take_offline(const MetadataImage& image, int32_t broker,
                                const Directories& online);

// The replica of `broker` has moved.
std::vector<Bytes> assign_directory(const MetadataImage& image, int32_t broker,
                                    const std::string& topic, int32_t partition,
                                    const Uuid& directory);

}  // namespace klamm::replication
