#pragma once
// Which log directory of its broker a replica lies in (KIP-858): pure functions from an image to
// records.
#include <set>
#include <string>
#include <vector>

#include "replication/controller/elections.h"

namespace klamm::replication {

// Directories of a broker have failed: what it has there leaves the ISR and loses its leader.
std::vector<Bytes> take_offline(const MetadataImage& image, int32_t broker,
                                const std::set<Uuid>& offline);

// The replica of `broker` lies in `directory`.
std::vector<Bytes> assign_directory(const MetadataImage& image, int32_t broker,
                                    const TopicImage& topic, int32_t partition,
                                    const Uuid& directory);

}  // namespace klamm::replication
