#pragma once
// Leader elections of the controller: pure functions from an image to records.
#include <vector>

#include "replication/controller/directories.h"
#include "replication/metadata/delta.h"
#include "replication/metadata/image.h"

namespace klamm::replication {

// A broker has come up: it takes the partitions that have no leader and that it may lead without
// losing anything. It may when it is in the ISR or, where the ISR is empty, in the ELR or the last
// known leader (KIP-966), and when its directory is online.
std::vector<Bytes> elect_for(const MetadataImage& image, int32_t broker, const Directories& online);

}  // namespace klamm::replication
