#pragma once
// Which brokers get the replicas of new partitions: a pure function of the image and a random
// number.
#include <cstdint>
#include <vector>

#include "protocol/base/result.h"
#include "replication/metadata/image.h"
#include "storage/env/clock.h"

namespace klamm::replication {

// `count` lists of `factor` brokers. Replicas of one partition lie in as many racks as there are
// (KIP-36; brokers without a rack share one), leaders and followers go round within each, from a
// random start. Brokers that are fenced or stopping come last, and only where the others do not
// suffice. INVALID_REPLICATION_FACTOR when there are too few brokers, or none that may lead.
Result<std::vector<std::vector<int32_t>>> place_replicas(const MetadataImage& image, int32_t count,
                                                         size_t factor, storage::Random& random);

}  // namespace klamm::replication
