#include "broker/handlers/config_description.h"

#include <algorithm>

namespace klamm::broker {
namespace {

// Keys for Kafka's own tests, which it does not show.
bool is_internal_key(const ConfigKey& key) { return key.name.starts_with("internal."); }

std::optional<std::string> default_of(const ConfigKey& key) {
  return key.default_value == nullptr ? std::nullopt
                                      : std::optional<std::string>(key.default_value);
}

void settle(ConfigDescription& description) {
  if (!description.synonyms.empty()) {
    description.value = description.synonyms.front().value;
    description.source = description.synonyms.front().source;
  }
  if (description.sensitive) {
    description.value.reset();
    for (ConfigSynonym& synonym : description.synonyms) {
      synonym.value.reset();
    }
  }
}

// The broker keys behind a topic key: those that are set, then the default.
void add_broker_synonyms(const BrokerConfig& config, const ConfigKey& key,
                         ConfigDescription& description) {
  const auto names = split_list(key.broker_synonyms);
  for (const std::string& name : names) {
    if (config.is_given(name)) {
      description.synonyms.push_back({name, *config.find(name), ConfigSource::kStatic});
    }
  }
  for (const std::string& name : names) {
    const ConfigKey* broker_key = find_key(broker_keys(), name);
    if (broker_key != nullptr && broker_key->default_value != nullptr) {
      description.synonyms.push_back({name, broker_key->default_value, ConfigSource::kDefault});
      break;
    }
  }
}

}  // namespace

std::vector<ConfigDescription> describe_topic_config(const BrokerConfig& config,
                                                     const ConfigMap& overrides,
                                                     const ConfigMap& cluster) {
  std::vector<ConfigDescription> all;
  for (const ConfigKey& key : topic_keys()) {
    if (is_internal_key(key)) {
      continue;
    }
    ConfigDescription description{.name = std::string(key.name), .type = key.type};
    const auto override_value = overrides.find(description.name);
    if (override_value != overrides.end()) {
      description.synonyms.push_back(
          {description.name, override_value->second, ConfigSource::kTopic});
    }
    for (const std::string& name : split_list(key.broker_synonyms)) {
      if (const auto found = cluster.find(name); found != cluster.end()) {
        description.synonyms.push_back({name, found->second, ConfigSource::kDynamicDefault});
      }
    }
    add_broker_synonyms(config, key, description);
    settle(description);
    // Of several broker keys for one topic key the units differ; the value is in the topic key's.
    if (override_value == overrides.end() && description.source != ConfigSource::kDynamicDefault) {
      description.value = topic_default(config, key);
      if (description.synonyms.empty()) {
        description.value = default_of(key);
      }
    }
    all.push_back(std::move(description));
  }
  return all;
}

std::vector<ConfigDescription> describe_broker_config(const BrokerConfig& config) {
  std::vector<ConfigDescription> all;
  for (const ConfigKey& key : broker_keys()) {
    ConfigDescription description{.name = std::string(key.name),
                                  .read_only = key.update == ConfigUpdate::kReadOnly,
                                  .sensitive = key.type == ConfigType::kPassword,
                                  .type = key.type};
    if (config.is_given(key.name)) {
      description.synonyms.push_back(
          {description.name, *config.find(key.name), ConfigSource::kStatic});
    }
    if (key.default_value != nullptr) {
      description.synonyms.push_back({description.name, key.default_value, ConfigSource::kDefault});
    }
    settle(description);
    all.push_back(std::move(description));
  }
  return all;
}

std::vector<ConfigDescription> describe_group_config(const ConfigMap& overrides) {
  std::vector<ConfigDescription> all;
  constexpr auto kGroupSource = static_cast<ConfigSource>(8);
  for (const ConfigKey& key : group_keys()) {
    ConfigDescription description{.name = std::string(key.name), .type = key.type};
    if (const auto found = overrides.find(description.name); found != overrides.end()) {
      description.synonyms.push_back({description.name, found->second, kGroupSource});
    }
    if (key.default_value != nullptr) {
      description.synonyms.push_back({description.name, key.default_value, ConfigSource::kDefault});
    }
    settle(description);
    all.push_back(std::move(description));
  }
  return all;
}

}  // namespace klamm::broker
