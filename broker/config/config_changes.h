#pragma once
// Changes of configuration at run time: what the broker that is asked checks of them, and what the
// controller makes of them (KIP-226, KIP-339). Pure.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "broker/config/broker_config.h"
#include "replication/metadata/image.h"

namespace klamm::broker {

// The numbers are those of IncrementalAlterConfigs. Append and subtract are for lists.
enum class ConfigOperation : int8_t { kSet = 0, kDelete = 1, kAppend = 2, kSubtract = 3 };

struct KeyChange {
  std::string key;
  ConfigOperation operation = ConfigOperation::kSet;
  std::optional<std::string> value;
};

struct ConfigChange {
  replication::ConfigResource type = replication::ConfigResource::kUnknown;
  std::string name;  // of the resource; empty: the default of all brokers
  std::vector<KeyChange> keys;
  bool replaces = false;  // what is not named goes (AlterConfigs)
};

// What becomes of a resource's keys; nullopt: the key goes.
using ConfigUpdates = std::map<std::string, std::optional<std::string>>;

// Before it goes to the controller. INVALID_REQUEST for kinds, names, keys and values that cannot
// be, INVALID_CONFIG for an operation that does not suit the key. `current`: the resource's
// overrides.
Result<> check_at_broker(const ConfigChange& change, const BrokerConfig& config,
                         const ConfigMap& current);

// On the controller. `config` gives the defaults that lists are appended to and the limits of group
// keys. INVALID_CONFIG, INVALID_REQUEST, UNKNOWN_TOPIC_OR_PARTITION, BROKER_ID_NOT_REGISTERED.
Result<ConfigUpdates> decide(const ConfigChange& change, const replication::MetadataImage& image,
                             const BrokerConfig& config);

}  // namespace klamm::broker
