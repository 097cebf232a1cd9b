#include "replication/controller/feature_levels.h"

#include <catch2/catch.hpp>

#include "protocol/generated/register_broker_record.h"

using namespace klamm;
using namespace klamm::replication;

namespace {

MetadataImage at(int16_t metadata_version) {
  MetadataImage image;
  image.features["metadata.version"] = metadata_version;
  image.features["transaction.version"] = 2;
  return image;
}

void register_broker(MetadataImage& image, int32_t id, const char* feature, int16_t least,
                     int16_t most) {
  protocol::RegisterBrokerRecord record;
  record.broker_id = id;
  record.features.push_back(
      {.name = feature, .min_supported_version = least, .max_supported_version = most});
  image.brokers[id] = {.id = id, .registration = to_record(record, 3)};
}

std::string why(const MetadataImage& image, const FeatureUpdate& update,
                int16_t kraft_version = 0) {
  const auto change = update_features(image, 1, kraft_version, {update});
  if (change) {
    return "";
  }
  CHECK(change.error().code == ErrorCode::kInvalidUpdateVersion);
  return change.error().why;
}

}  // namespace

TEST_CASE("features go up when every node can, and down only on request") {
  auto image = at(23);
  register_broker(image, 2, "share.version", 0, 2);
  CHECK(why(image, {"share.version", 1}).empty());
  register_broker(image, 3, "group.version", 0, 1);
  CHECK(why(image, {"share.version", 1}).find("Broker 3 does not support") != std::string::npos);
  register_broker(image, 3, "share.version", 0, 1);
  CHECK(why(image, {"share.version", 2}).find("Broker 3 only supports versions 0-1") !=
        std::string::npos);
  CHECK(why(image, {"share.version", 3}).find("Local controller 1 only") != std::string::npos);
  CHECK(why(image, {"tea.version", 1}).find("does not support") != std::string::npos);
  CHECK(why(at(33), {"transaction.version", 1}).find("upgrade type") != std::string::npos);
  CHECK(why(at(33), {"transaction.version", 1, UpgradeType::kSafeDowngrade}).empty());
  CHECK_FALSE(why(at(33), {"share.version", 1, UpgradeType::kSafeDowngrade}).empty());
  CHECK_FALSE(why(at(33), {"share.version", 1, UpgradeType::kUnknown}).empty());
  CHECK_FALSE(why(at(33), {"share.version", -1}).empty());
}

TEST_CASE("metadata.version goes down only where no level between has changed the records") {
  CHECK(why(at(29), {"metadata.version", 33}).empty());
  CHECK(why(at(29), {"metadata.version", 24, UpgradeType::kSafeDowngrade}).empty());
  CHECK(why(at(33), {"metadata.version", 32, UpgradeType::kSafeDowngrade}).find("Refusing") !=
        std::string::npos);
  CHECK(why(at(33), {"metadata.version", 32, UpgradeType::kUnsafeDowngrade}).find("Unsafe") !=
        std::string::npos);
  CHECK_FALSE(why(at(33), {"metadata.version", 0, UpgradeType::kSafeDowngrade}).empty());
}

TEST_CASE("a feature that needs a metadata.version may come with it") {
  CHECK(why(at(20), {"eligible.leader.replicas.version", 1}).find("depends on metadata.version") !=
        std::string::npos);
  const auto both = update_features(
      at(20), 1, 0, {{"eligible.leader.replicas.version", 1}, {"metadata.version", 23}});
  REQUIRE(both);
  CHECK(both->records.size() == 2);
}

TEST_CASE("kraft.version is left to Raft, and never goes down") {
  const auto change = update_features(at(33), 1, 0, {{"kraft.version", 1}});
  REQUIRE(change);
  CHECK(change->upgrades_kraft);
  CHECK(change->records.empty());
  CHECK_FALSE(update_features(at(33), 1, 1, {{"kraft.version", 1}})->upgrades_kraft);
  CHECK_FALSE(why(at(33), {"kraft.version", 0, UpgradeType::kSafeDowngrade}, 1).empty());
}
