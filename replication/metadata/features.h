#pragma once
// The features of the cluster that this release knows, the levels it can run at, and the level of a
// new cluster.
#include <cstdint>

#include "replication/metadata/image.h"

namespace klamm::replication {

struct Feature {
  const char* name;
  int16_t level_min;
  int16_t level_max;
  int16_t level_new;  // 0: a new cluster has no record of it
};

// metadata.version 33 is 4.4-IV2. kraft.version lives in control records, and a static quorum is
// formatted without it.
inline constexpr Feature kFeatures[] = {
    {"metadata.version", 7, 33, 33}, {"eligible.leader.replicas.version", 0, 1, 1},
    {"group.version", 0, 1, 1},      {"kraft.version", 0, 1, 0},
    {"share.version", 0, 2, 2},      {"streams.version", 0, 1, 1},
    {"transaction.version", 0, 2, 2}};

// Whether leaders may be elected from replicas that were in sync last (KIP-966).
inline bool elr_is_enabled(const MetadataImage& image) {
  const auto level = image.features.find("eligible.leader.replicas.version");
  return level != image.features.end() && level->second > 0;
}

}  // namespace klamm::replication
