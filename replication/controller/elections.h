#pragma once
// Leader elections of the controller: pure functions from an image to records.
#include <set>
#include <vector>

#include "replication/metadata/delta.h"
#include "replication/metadata/image.h"

namespace klamm::replication {

// The ids of the log directories that a broker has online.
using Directories = std::set<Uuid>;
// Where the replica of `broker` lies is online, or not assigned yet (KIP-858).
bool is_online(const PartitionImage& partition, int32_t broker, const Directories& online);

// A broker has come up: it takes the partitions that have no leader and that it may lead without
// losing anything. It may when it is in the ISR or, where the ISR is empty, in the ELR or the last
// known leader (KIP-966), and when its directory is online.
std::vector<Bytes> elect_for(const MetadataImage& image, int32_t broker, const Directories& online);

// Directories of a broker have failed: what it leads there loses its leader. The last one in sync
// stays in the ISR.
std::vector<Bytes> take_offline(const MetadataImage& image, int32_t broker,
                                const Directories& online);

}  // namespace klamm::replication
