#include "broker/config/resource_checks.h"

#include <algorithm>
#include <charconv>
#include <regex>

#include "replication/controller/topics.h"

namespace klamm::broker {

using replication::ConfigResource;

namespace {

int64_t to_number(const std::string& text) {
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// consumer.session.timeout.ms must lie between group.consumer.min.session.timeout.ms and
// group.consumer.max.session.timeout.ms, where the broker has these.
Result<> check_group_range(const std::string& key, const std::string& value,
                           const BrokerConfig& config) {
  const size_t dot = key.find('.');
  const std::string kind = "group." + key.substr(0, dot);
  std::string what = key.substr(dot);
  const std::string* const min = config.find(kind + ".min" + what);
  if (what.starts_with(".num.")) {
    what.erase(0, 4);
  }
  const std::string* const max = config.find(kind + ".max" + what);
  const int64_t number = to_number(value);
  if (min != nullptr && max != nullptr && (number < to_number(*min) || number > to_number(*max))) {
    return fail(ErrorCode::kInvalidConfig,
                key + " must be in the range " + *min + " to " + *max + " inclusive.");
  }
  if (min == nullptr && max != nullptr && number > to_number(*max)) {
    return fail(ErrorCode::kInvalidConfig,
                key + " must be less than or equal to " + kind + ".max" + what);
  }
  return {};
}

Result<> check_group(const std::string& name, const ConfigMap& values, const BrokerConfig& config) {
  if (name.empty()) {
    return fail(ErrorCode::kInvalidRequest, "Default group resources are not allowed.");
  }
  for (const auto& [key, value] : values) {
    const ConfigKey* const known = find_key(group_keys(), key);
    if (known == nullptr) {
      return fail(ErrorCode::kInvalidConfig, "Unknown group config name: " + key);
    }
    TRY_VOID(check_value(*known, value));
    TRY_VOID(check_group_range(key, value, config));
  }
  return {};
}

bool is_regex(const std::string& pattern) {
  try {
    (void)std::regex(pattern, std::regex::ECMAScript);
    return true;
  } catch (const std::regex_error&) {
    return false;
  }
}

// "key=regular expression" of KIP-714.
Result<> check_match(const std::string& pattern) {
  static constexpr std::string_view kLabels[] = {"client_instance_id",    "client_id",
                                                 "client_software_name",  "client_software_version",
                                                 "client_source_address", "client_source_port"};
  const size_t equals = pattern.find('=');
  const std::string_view label = std::string_view(pattern).substr(0, equals);
  if (equals != std::string::npos &&
      std::find(std::begin(kLabels), std::end(kLabels), label) != std::end(kLabels) &&
      is_regex(pattern.substr(equals + 1))) {
    return {};
  }
  return fail(ErrorCode::kInvalidConfig, "Illegal client matching pattern: " + pattern);
}

Result<> check_client_metrics(const std::string& name, const ConfigMap& values) {
  if (name.empty()) {
    return fail(ErrorCode::kInvalidRequest, "Subscription name can't be empty");
  }
  for (const auto& [key, value] : values) {
    const ConfigKey* const known = find_key(client_metrics_keys(), key);
    if (known == nullptr) {
      return fail(ErrorCode::kInvalidRequest, "Unknown client metrics configuration: " + key);
    }
    if (const int64_t ms = to_number(value);
        key == "interval.ms" && (!check_value(*known, value) || ms < 100 || ms > 3'600'000)) {
      return fail(ErrorCode::kInvalidRequest,
                  "Invalid value " + value +
                      " for interval.ms, interval must be between 100 and 3600000 (1 hour)");
    }
    for (const std::string& pattern :
         key == "match" ? split_list(value) : std::vector<std::string>()) {
      TRY_VOID(check_match(pattern));
    }
  }
  return {};
}

Result<> check_topic(const std::string& name, const ConfigMap& values, const BrokerConfig& config) {
  if (name.empty()) {
    return fail(ErrorCode::kInvalidRequest, "Default topic resources are not allowed.");
  }
  TRY_VOID(replication::check_topic_name(name));
  TRY_VOID(check_topic_config(values));
  const auto log = resolve_log_config(config, values);
  if (log.min_compaction_lag_ms > log.max_compaction_lag_ms) {
    return fail(ErrorCode::kInvalidConfig, "conflict topic config setting min.compaction.lag.ms (" +
                                               std::to_string(log.min_compaction_lag_ms) +
                                               ") > max.compaction.lag.ms (" +
                                               std::to_string(log.max_compaction_lag_ms) + ")");
  }
  return {};
}

// On the controller a broker's values were seen by that broker.
Result<> check_broker_name(const std::string& name) {
  const bool is_number = !name.empty() && std::all_of(name.begin(), name.end(),
                                                      [](char c) { return std::isdigit(c); });
  if (!name.empty() && !is_number) {
    return fail(ErrorCode::kInvalidRequest, "Unable to parse broker name as a base 10 number.");
  }
  return {};
}

std::string bracketed(const std::vector<std::string>& names) {
  std::string text = "[";
  for (const std::string& name : names) {
    text += (text.size() == 1 ? "" : ", ") + name;
  }
  return text + "]";
}

template <class Is>
Result<> none(const ConfigMap& values, const char* why, Is is) {
  std::vector<std::string> names;
  for (const auto& [key, value] : values) {
    const ConfigKey* const known = find_broker_key(key);
    if (known != nullptr && is(*known)) {
      names.push_back(key);
    }
  }
  return names.empty()
             ? Result<>()
             : fail(ErrorCode::kInvalidRequest, std::string(why) + ": " + bracketed(names));
}

// A pool may at most double or halve at a time.
Result<> check_threads(const std::string& key, int64_t wanted, int64_t current) {
  const bool is_too_many = wanted > current * 2;
  if (key.find(".threads") == std::string::npos || (!is_too_many && wanted >= current / 2)) {
    return {};
  }
  return fail(ErrorCode::kInvalidRequest,
              "Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count "
              "update validation failed for " +
                  key + "=" + std::to_string(wanted) + ", value should " +
                  (is_too_many ? "not be greater than double" : "be at least half") +
                  " the current value " + std::to_string(current) +
                  " for configuration Invalid dynamic configuration");
}

}  // namespace

Result<> check_resource(ConfigResource type, const std::string& name, const ConfigMap& values,
                        const BrokerConfig& config) {
  switch (type) {
    case ConfigResource::kTopic: return check_topic(name, values, config);
    case ConfigResource::kBroker: return check_broker_name(name);
    case ConfigResource::kClientMetrics: return check_client_metrics(name, values);
    case ConfigResource::kGroup: return check_group(name, values, config);
    default:
      return fail(ErrorCode::kInvalidRequest,
                  "Unknown resource type " + std::to_string(static_cast<int>(type)));
  }
}

Result<> check_broker_values(const ConfigMap& values, bool for_all, const BrokerConfig& config) {
  TRY_VOID(none(values, "Cannot update these configs dynamically",
                [](const ConfigKey& key) { return key.update == ConfigUpdate::kReadOnly; }));
  for (const auto& [key, value] : values) {
    const ConfigKey* const known = find_broker_key(key);
    if (const auto checked = known == nullptr ? Result<>() : check_value(*known, value); !checked) {
      return fail(ErrorCode::kInvalidRequest, checked.error().why);
    }
  }
  if (for_all) {
    TRY_VOID(none(values,
                  "Cannot update these configs at default cluster level, broker id must be "
                  "specified",
                  [](const ConfigKey& key) { return key.update == ConfigUpdate::kPerBroker; }));
  }
  for (const auto& [key, value] : values) {
    if (find_key(broker_keys(), key) != nullptr) {
      TRY_VOID(check_threads(key, to_number(value), config.number(key)));
    }
  }
  return {};
}

}  // namespace klamm::broker
