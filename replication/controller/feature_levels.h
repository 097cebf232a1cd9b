#pragma once
// Raising and lowering the finalized features of the cluster, metadata.version among them
// (KIP-584, KIP-778, KIP-1022): a pure function from an image and a wish to records.
#include <string>
#include <vector>

#include "replication/metadata/delta.h"
#include "replication/metadata/features.h"

namespace klamm::replication {

// The numbers are those of UpdateFeatures.
enum class UpgradeType : int8_t {
  kUnknown = 0,
  kUpgrade = 1,
  kSafeDowngrade = 2,
  kUnsafeDowngrade = 3
};

struct FeatureUpdate {
  std::string name;
  int16_t level = 0;
  UpgradeType type = UpgradeType::kUpgrade;
};

struct FeatureChange {
  std::vector<Bytes> records;
  // kraft.version is no metadata record: Raft is to be asked for it.
  bool upgrades_kraft = false;
};

// All or nothing. INVALID_UPDATE_VERSION says what stands against it: this controller (`self`),
// another node that does not support the level, a feature it depends on, the direction.
Result<FeatureChange> update_features(const MetadataImage& image, int32_t self,
                                      int16_t kraft_version,
                                      const std::vector<FeatureUpdate>& updates);

}  // namespace klamm::replication
