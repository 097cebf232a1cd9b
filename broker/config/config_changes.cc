#include "broker/config/config_changes.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "broker/config/resource_checks.h"
#include "replication/metadata/features.h"

namespace klamm::broker {

using replication::ConfigResource;
using replication::MetadataImage;

namespace {

const ConfigKey* key_of(ConfigResource type, const std::string& name) {
  switch (type) {
    case ConfigResource::kTopic: return find_key(topic_keys(), name);
    case ConfigResource::kBroker: return find_broker_key(name);
    case ConfigResource::kClientMetrics: return find_key(client_metrics_keys(), name);
    case ConfigResource::kGroup: return find_key(group_keys(), name);
    default: return nullptr;
  }
}

Result<> check_keys(const ConfigChange& change) {
  std::set<std::string> names;
  std::string without_value;
  for (const KeyChange& each : change.keys) {
    if (!names.insert(each.key).second) {
      return fail(ErrorCode::kInvalidRequest, "Error due to duplicate config keys");
    }
    if (each.operation != ConfigOperation::kDelete && !each.value) {
      without_value += (without_value.empty() ? "" : ", ") + each.key;
    }
  }
  if (!without_value.empty()) {
    return fail(ErrorCode::kInvalidRequest, "Null value not supported for : " + without_value);
  }
  for (const KeyChange& each : change.keys) {
    if (each.operation < ConfigOperation::kSet || each.operation > ConfigOperation::kSubtract) {
      return fail(ErrorCode::kUnknownServerError, "");
    }
  }
  return {};
}

bool is_list(const ConfigKey* key) { return key != nullptr && key->type == ConfigType::kList; }

void append(std::vector<std::string>& list, const std::vector<std::string>& values) {
  for (const std::string& value : values) {
    if (std::find(list.begin(), list.end(), value) == list.end()) {
      list.push_back(value);
    }
  }
}

void subtract(std::vector<std::string>& list, const std::vector<std::string>& values) {
  for (const std::string& value : values) {
    if (const auto found = std::find(list.begin(), list.end(), value); found != list.end()) {
      list.erase(found);
    }
  }
}

std::string join(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& part : list) {
    text += (text.empty() ? "" : ",") + part;
  }
  return text;
}

// The value after the operation; what is not set yet starts from `initial`.
std::optional<std::string> apply(const KeyChange& change, const ConfigMap& current,
                                 const std::string& initial) {
  switch (change.operation) {
    case ConfigOperation::kSet: return change.value;
    case ConfigOperation::kDelete: return std::nullopt;
    default: break;
  }
  const auto found = current.find(change.key);
  auto list = split_list(found == current.end() ? initial : found->second);
  (change.operation == ConfigOperation::kAppend ? append : subtract)(list,
                                                                     split_list(*change.value));
  return join(list);
}

std::string initial_value(ConfigResource type, const ConfigKey& key, const BrokerConfig& config) {
  if (type == ConfigResource::kTopic) {
    return topic_default(config, key);
  }
  return type == ConfigResource::kBroker ? config.get(key.name)
         : key.default_value == nullptr  ? ""
                                         : key.default_value;
}

Result<> check_own_id(const std::string& name, const BrokerConfig& config) {
  int32_t id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  if (error != std::errc() || end != name.data() + name.size()) {
    return fail(ErrorCode::kInvalidRequest, "Node id must be an integer, but it is: " + name);
  }
  if (id != config.node_id()) {
    return fail(ErrorCode::kInvalidRequest, "Unexpected broker id, expected " +
                                                std::to_string(config.node_id()) +
                                                ", but received " + name);
  }
  return {};
}

Result<> check_broker_change(const ConfigChange& change, const BrokerConfig& config,
                             const ConfigMap& current) {
  if (!change.name.empty()) {
    TRY_VOID(check_own_id(change.name, config));
  }
  ConfigMap values = change.replaces ? ConfigMap() : current;
  for (const KeyChange& each : change.keys) {
    const ConfigKey* const key = find_broker_key(each.key);
    if (each.operation >= ConfigOperation::kAppend && !is_list(key)) {
      const bool appends = each.operation == ConfigOperation::kAppend;
      return fail(ErrorCode::kInvalidConfig, std::string("Config value ") +
                                                 (appends ? "append" : "subtract") +
                                                 " is not allowed for config key: " + each.key);
    }
    const auto value = apply(each, current, key == nullptr ? "" : config.get(key->name));
    value ? void(values[each.key] = *value) : void(values.erase(each.key));
  }
  return check_broker_values(values, change.name.empty(), config);
}

Result<> check_min_isr(const ConfigChange& change, const ConfigUpdates& updates,
                       const MetadataImage& image) {
  const auto found = updates.find("min.insync.replicas");
  if (change.type != ConfigResource::kBroker || found == updates.end() ||
      !replication::elr_is_enabled(image)) {
    return {};
  }
  if (!change.name.empty()) {
    return fail(ErrorCode::kInvalidConfig,
                "Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
  }
  if (!found->second) {
    return fail(ErrorCode::kInvalidConfig,
                "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
  }
  return {};
}

Result<> check_exists(const ConfigChange& change, const MetadataImage& image) {
  if (change.type == ConfigResource::kTopic && image.topic(change.name) == nullptr) {
    return fail(ErrorCode::kUnknownTopicOrPartition,
                "The topic '" + change.name + "' does not exist.");
  }
  if (change.type == ConfigResource::kBroker && !change.name.empty()) {
    int32_t id = -1;
    std::from_chars(change.name.data(), change.name.data() + change.name.size(), id);
    if (!image.brokers.contains(id) && !image.controllers.contains(id)) {
      return fail(ErrorCode::kBrokerIdNotRegistered, "No node with id " + change.name + " found.");
    }
  }
  return {};
}

Result<ConfigUpdates> updates_of(const ConfigChange& change, const ConfigMap& current,
                                 const BrokerConfig& config) {
  ConfigUpdates updates;
  for (const KeyChange& each : change.keys) {
    const ConfigKey* const key = key_of(change.type, each.key);
    if (each.operation >= ConfigOperation::kAppend && !is_list(key)) {
      const bool appends = each.operation == ConfigOperation::kAppend;
      return fail(ErrorCode::kInvalidConfig, std::string("Can't ") +
                                                 (appends ? "APPEND" : "SUBTRACT") + " to key " +
                                                 each.key + " because its type is not LIST.");
    }
    updates[each.key] =
        apply(each, current, key == nullptr ? "" : initial_value(change.type, *key, config));
  }
  if (change.replaces) {
    for (const auto& [key, value] : current) {
      updates.emplace(key, std::nullopt);
    }
  }
  return updates;
}

}  // namespace

Result<> check_at_broker(const ConfigChange& change, const BrokerConfig& config,
                         const ConfigMap& current) {
  TRY_VOID(check_keys(change));
  switch (change.type) {
    case ConfigResource::kBroker: return check_broker_change(change, config, current);
    case ConfigResource::kTopic:
    case ConfigResource::kClientMetrics:
    case ConfigResource::kGroup: return {};
    default:
      return fail(ErrorCode::kInvalidRequest,
                  "Unknown resource type " + std::to_string(static_cast<int>(change.type)));
  }
}

Result<ConfigUpdates> decide(const ConfigChange& change, const MetadataImage& image,
                             const BrokerConfig& config) {
  TRY_VOID(check_keys(change));
  const ConfigMap& current = image.config(change.type, change.name);
  TRY(auto updates, updates_of(change, current, config));
  TRY_VOID(check_min_isr(change, updates, image));
  ConfigMap after = current;
  for (const auto& [key, value] : updates) {
    if (!value) {
      after.erase(key);
    } else if (value->size() > INT16_MAX) {
      return fail(ErrorCode::kInvalidConfig,
                  "The configuration value cannot be added because it exceeds the maximum value "
                  "size of 32767 bytes.");
    } else {
      after[key] = *value;
    }
  }
  TRY_VOID(check_resource(change.type, change.name, after, config));
  TRY_VOID(check_exists(change, image));
  if (change.type != ConfigResource::kBroker) {  // of a broker a record always, it may be to reload
    std::erase_if(updates, [&current](const auto& update) {
      const auto known = current.find(update.first);
      return update.second ? known != current.end() && known->second == *update.second
                           : known == current.end();
    });
  }
  return updates;
}

}  // namespace klamm::broker
