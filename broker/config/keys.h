#pragma once
// The configuration keys of Apache Kafka 4.4.0 as tables: what is documented, validated and
// described comes from here.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/result.h"

namespace klamm::broker {

// The numbers are those of DescribeConfigs.
enum class ConfigType : int8_t {
  kBoolean = 1,
  kString = 2,
  kInt = 3,
  kShort = 4,
  kLong = 5,
  kDouble = 6,
  kList = 7,
  kClass = 8,
  kPassword = 9
};
enum class ConfigUpdate : uint8_t { kReadOnly, kClusterWide, kPerBroker };

struct ConfigKey {
  std::string_view name;
  ConfigType type;
  const char* default_value;  // nullptr: none
  std::string_view valid;     // in the reference's notation: "[0,...]", "[a, b]", ...
  ConfigUpdate update;
  std::string_view broker_synonyms{};  // of a topic's or group's key, comma separated
  bool is_internal = false;            // never told
};

std::span<const ConfigKey> broker_keys();
std::span<const ConfigKey> topic_keys();
std::span<const ConfigKey> group_keys();
// Of the subscriptions of KIP-714.
std::span<const ConfigKey> client_metrics_keys();
// Of a broker, but only set while it runs: the bounds of replication's bytes per second (KIP-73).
std::span<const ConfigKey> throttle_keys();
// Our own; their names begin with `klamm.`.
std::span<const ConfigKey> klamm_keys();

const ConfigKey* find_key(std::span<const ConfigKey> keys, std::string_view name);
// Among all that a broker may be told.
const ConfigKey* find_broker_key(std::string_view name);

// The parts of a comma-separated list, trimmed, without empty ones.
std::vector<std::string> split_list(std::string_view text);

// INVALID_CONFIG, with a reason for people, when the value does not parse or is out of range.
Result<> check_value(const ConfigKey& key, const std::string& value);

}  // namespace klamm::broker
