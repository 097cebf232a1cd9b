#include "broker/handlers/config_description.h"

#include <algorithm>

namespace klamm::broker {
namespace {

// The broker keys that say the same in other units, the finest first.
std::vector<std::string> broker_synonyms(const std::string& name) {
  static const std::vector<std::string> kFamilies[] = {
      {"log.roll.ms", "log.roll.hours"},
      {"log.roll.jitter.ms", "log.roll.jitter.hours"},
      {"log.retention.ms", "log.retention.minutes", "log.retention.hours"}};
  if (name == "log.flush.interval.ms") {
    return {name, "log.flush.scheduler.interval.ms"};
  }
  for (const auto& family : kFamilies) {
    if (std::find(family.begin(), family.end(), name) != family.end()) {
      return family;
    }
  }
  return {name};
}

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

// The settings of these broker keys by their source, then the default of the first that has one;
// without those before the first of the key `main`, as the reference has it.
void add_broker_synonyms(const BrokerConfig& config, const std::vector<std::string>& names,
                         std::string_view main, ConfigDescription& description) {
  std::vector<ConfigSynonym> all;
  for (const auto source :
       {ConfigSource::kDynamicBroker, ConfigSource::kDynamicDefault, ConfigSource::kStatic}) {
    for (const std::string& name : names) {
      for (const auto& [from, value] : config.settings(name)) {
        if (from == source) {
          all.push_back({name, value, source});
        }
      }
    }
  }
  for (const std::string& name : names) {
    const ConfigKey* broker_key = find_broker_key(name);
    const bool is_dynamic_only = find_key(throttle_keys(), name) != nullptr;  // no default is told
    if (broker_key != nullptr && broker_key->default_value != nullptr && !is_dynamic_only) {
      all.push_back({name, broker_key->default_value, ConfigSource::kDefault});
      break;
    }
  }
  const auto first = std::find_if(all.begin(), all.end(),
                                  [main](const ConfigSynonym& each) { return each.name == main; });
  description.synonyms.insert(description.synonyms.end(), first, all.end());
}

// What is set for the resource, then what the broker's configuration gives, then the key's default.
std::vector<ConfigDescription> describe_overrides(const BrokerConfig& config,
                                                  std::span<const ConfigKey> keys,
                                                  const ConfigMap& overrides, ConfigSource source) {
  std::vector<ConfigDescription> all;
  for (const ConfigKey& key : keys) {
    if (key.is_internal) {
      continue;
    }
    ConfigDescription description{.name = std::string(key.name), .type = key.type};
    if (const auto found = overrides.find(description.name); found != overrides.end()) {
      description.synonyms.push_back({description.name, found->second, source});
    }
    if (!key.broker_synonyms.empty()) {
      add_broker_synonyms(config, {std::string(key.broker_synonyms)}, key.broker_synonyms,
                          description);
    } else if (key.default_value != nullptr) {
      description.synonyms.push_back({description.name, key.default_value, ConfigSource::kDefault});
    }
    settle(description);
    all.push_back(std::move(description));
  }
  return all;
}

}  // namespace

std::vector<ConfigDescription> describe_topic_config(const BrokerConfig& config,
                                                     const ConfigMap& overrides) {
  std::vector<ConfigDescription> all;
  for (const ConfigKey& key : topic_keys()) {
    if (key.is_internal) {
      continue;
    }
    ConfigDescription description{.name = std::string(key.name), .type = key.type};
    const auto override_value = overrides.find(description.name);
    if (override_value != overrides.end()) {
      description.synonyms.push_back(
          {description.name, override_value->second, ConfigSource::kTopic});
    }
    const auto names = split_list(key.broker_synonyms);
    add_broker_synonyms(config, names, names.empty() ? "" : names.front(), description);
    settle(description);
    // Of several broker keys for one topic key the units differ; the value is in the topic key's.
    if (override_value == overrides.end()) {
      description.value = names.empty() ? default_of(key) : topic_default(config, key);
    }
    all.push_back(std::move(description));
  }
  return all;
}

std::vector<ConfigDescription> describe_broker_config(const BrokerConfig& config) {
  std::vector<ConfigDescription> all;
  const auto describe = [&](const ConfigKey& key) {
    ConfigDescription description{.name = std::string(key.name),
                                  .read_only = key.update == ConfigUpdate::kReadOnly,
                                  .sensitive = key.type == ConfigType::kPassword,
                                  .type = key.type};
    add_broker_synonyms(config, broker_synonyms(description.name), key.name, description);
    settle(description);
    all.push_back(std::move(description));
  };
  for (const ConfigKey& key : broker_keys()) {
    if (!key.is_internal) {
      describe(key);
    }
  }
  for (const ConfigKey& key : throttle_keys()) {
    if (!config.settings(std::string(key.name)).empty()) {
      describe(key);
    }
  }
  return all;
}

std::vector<ConfigDescription> describe_cluster_config(const ConfigMap& overrides) {
  std::vector<ConfigDescription> all;
  for (const auto& [name, value] : overrides) {
    const ConfigKey* const key = find_broker_key(name);
    ConfigDescription description{.name = name,
                                  .read_only = key == nullptr,
                                  .sensitive = key == nullptr || key->type == ConfigType::kPassword,
                                  .type = key == nullptr ? ConfigType::kString : key->type};
    description.synonyms.push_back({name, value, ConfigSource::kDynamicDefault});
    settle(description);
    all.push_back(std::move(description));
  }
  return all;
}

std::vector<ConfigDescription> describe_group_config(const BrokerConfig& config,
                                                     const ConfigMap& overrides) {
  return describe_overrides(config, group_keys(), overrides, ConfigSource::kGroup);
}

std::vector<ConfigDescription> describe_client_metrics(const BrokerConfig& config,
                                                       const ConfigMap& overrides) {
  auto all =
      describe_overrides(config, client_metrics_keys(), overrides, ConfigSource::kClientMetrics);
  for (ConfigDescription& description : all) {
    std::erase_if(description.synonyms, [](const ConfigSynonym& synonym) {
      return synonym.source == ConfigSource::kDefault;
    });
  }
  return all;
}

}  // namespace klamm::broker
