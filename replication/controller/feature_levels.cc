#include "replication/controller/feature_levels.h"

#include <algorithm>
#include <map>

#include "protocol/generated/feature_level_record.h"
#include "protocol/generated/register_broker_record.h"
#include "protocol/generated/register_controller_record.h"

namespace klamm::replication {

using namespace protocol;

namespace {

constexpr const char* kMetadataVersion = "metadata.version";
constexpr const char* kKRaftVersion = "kraft.version";
// Levels of metadata.version that brought records or fields which older levels do not know.
constexpr int16_t kMetadataChanges[] = {7, 8, 11, 13, 14, 15, 17, 23, 30, 32, 33};
// eligible.leader.replicas.version 1 needs a metadata.version of 4.0-IV1.
constexpr int16_t kMetadataVersionWithElr = 23;

std::unexpected<Error> refuse(const FeatureUpdate& update, const std::string& why) {
  return fail(ErrorCode::kInvalidUpdateVersion, "Invalid update version " +
                                                    std::to_string(update.level) + " for feature " +
                                                    update.name + ". " + why);
}

// Whether a node that registered with these features could run at the level.
template <class Features>
Result<> check_support(const FeatureUpdate& update, const std::string& node,
                       const Features& features) {
  const auto range = std::find_if(features.begin(), features.end(), [&update](const auto& feature) {
    return feature.name == update.name;
  });
  const int16_t most = range == features.end() ? 0 : range->max_supported_version;
  const int16_t least = range == features.end() ? 0 : range->min_supported_version;
  if (update.level != 0 && (update.level < least || update.level > most)) {
    return refuse(update, most == 0 ? node + " does not support this feature."
                                    : node + " only supports versions " + std::to_string(least) +
                                          "-" + std::to_string(most));
  }
  return {};
}

Result<> check_all_support(const MetadataImage& image, int32_t self, const FeatureUpdate& update) {
  const auto ours =
      std::find_if(std::begin(kFeatures), std::end(kFeatures),
                   [&update](const Feature& feature) { return update.name == feature.name; });
  if (ours == std::end(kFeatures) ||
      (update.level != 0 && (update.level < ours->level_min || update.level > ours->level_max))) {
    return refuse(update, "Local controller " + std::to_string(self) +
                              (ours == std::end(kFeatures)
                                   ? " does not support this feature."
                                   : " only supports versions " + std::to_string(ours->level_min) +
                                         "-" + std::to_string(ours->level_max)));
  }
  for (const auto& [id, broker] : image.brokers) {
    const auto record = from_record<RegisterBrokerRecord>(broker.registration);
    TRY_VOID(check_support(update, "Broker " + std::to_string(id), record.features));
  }
  for (const auto& [id, controller] : image.controllers) {
    if (id != self) {
      const auto record = from_record<RegisterControllerRecord>(controller.registration);
      TRY_VOID(check_support(update, "Controller " + std::to_string(id), record.features));
    }
  }
  return {};
}

Result<> check_direction(const FeatureUpdate& update, int16_t now) {
  if (update.type < UpgradeType::kUpgrade || update.type > UpgradeType::kUnsafeDowngrade) {
    return refuse(update, "The controller does not support the given upgrade type.");
  }
  if (update.level < 0) {
    return refuse(update, "A feature version cannot be less than 0.");
  }
  if (update.level < now && update.type == UpgradeType::kUpgrade) {
    return refuse(update,
                  "Can't downgrade the version of this feature without setting the upgrade type to "
                  "either safe or unsafe downgrade.");
  }
  if (update.level > now && update.type != UpgradeType::kUpgrade) {
    return refuse(update, "Can't downgrade to a newer version.");
  }
  return {};
}

Result<> check_metadata_version(const FeatureUpdate& update, int16_t now) {
  if (update.level < kFeatures[0].level_min) {
    return refuse(update, "There is no such metadata.version.");
  }
  const bool loses =
      std::any_of(std::begin(kMetadataChanges), std::end(kMetadataChanges),
                  [&](int16_t changed) { return changed > update.level && changed <= now; });
  if (!loses) {
    return {};
  }
  return fail(ErrorCode::kInvalidUpdateVersion,
              "Unsupported metadata.version downgrade from " + std::to_string(now) + " to " +
                  std::to_string(update.level) + ". " +
                  (update.type == UpgradeType::kUnsafeDowngrade
                       ? "Unsafe metadata downgrade is not supported in this version."
                       : "Refusing to perform the requested downgrade because it might delete "
                         "metadata information."));
}

int16_t level_of(const std::map<std::string, int16_t>& levels, const std::string& name) {
  const auto found = levels.find(name);
  return found == levels.end() ? 0 : found->second;
}

}  // namespace

Result<FeatureChange> update_features(const MetadataImage& image, int32_t self,
                                      int16_t kraft_version,
                                      const std::vector<FeatureUpdate>& updates) {
  std::map<std::string, int16_t> proposed = image.features;
  for (const FeatureUpdate& update : updates) {
    proposed[update.name] = update.level;
  }
  FeatureChange change;
  for (const FeatureUpdate& update : updates) {
    const bool is_kraft = update.name == kKRaftVersion;
    const int16_t now = is_kraft ? kraft_version : level_of(image.features, update.name);
    TRY_VOID(check_direction(update, now));
    TRY_VOID(check_all_support(image, self, update));
    if (is_kraft) {
      if (update.level < now) {
        return refuse(update, "Can't downgrade the version of this feature.");
      }
      change.upgrades_kraft = update.level > now;
      continue;
    }
    if (update.name == kMetadataVersion) {
      TRY_VOID(check_metadata_version(update, now));
    } else if (update.name == "eligible.leader.replicas.version" && update.level > 0 &&
               level_of(proposed, kMetadataVersion) < kMetadataVersionWithElr) {
      return refuse(update, update.name + " could not be set to " + std::to_string(update.level) +
                                " because it depends on metadata.version level " +
                                std::to_string(kMetadataVersionWithElr));
    }
    FeatureLevelRecord record;
    record.name = update.name;
    record.feature_level = update.level;
    change.records.push_back(to_record(record, 0));
  }
  return change;
}

}  // namespace klamm::replication
