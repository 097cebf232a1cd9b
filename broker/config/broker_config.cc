#include "broker/config/broker_config.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>

namespace klamm::broker {
namespace {

// What a single node needs and Kafka's defaults lack.
const ConfigMap kWorkingDefaults = {
    {"process.roles", "broker,controller"},
    {"node.id", "1"},
    {"listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"},
    {"controller.listener.names", "CONTROLLER"},
    {"listener.security.protocol.map",
     "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_"
     "SSL"},
    {"log.dirs", "/tmp/kraft-combined-logs"},
    {"offsets.topic.replication.factor", "1"},
    {"transaction.state.log.replication.factor", "1"},
    {"transaction.state.log.min.isr", "1"},
    {"share.coordinator.state.topic.replication.factor", "1"},
    {"share.coordinator.state.topic.min.isr", "1"},
};

const std::set<std::string> kNotProperties = {"VERSION",       "HEAP_OPTS",
                                              "LOG4J_OPTS",    "OPTS",
                                              "JMX_OPTS",      "JVM_PERFORMANCE_OPTS",
                                              "GC_LOG_OPTS",   "LOG4J_ROOT_LOGLEVEL",
                                              "LOG4J_LOGGERS", "TOOLS_LOG4J_LOGLEVEL",
                                              "JMX_HOSTNAME"};

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// NAME://host:port; an IPv6 host stands in brackets.
Result<Endpoint> parse_endpoint(const std::string& text) {
  const size_t scheme = text.find("://");
  const size_t colon = text.rfind(':');
  uint16_t port = 0;
  Endpoint endpoint;
  if (scheme == std::string::npos || colon == std::string::npos || colon < scheme + 3 ||
      std::from_chars(text.data() + colon + 1, text.data() + text.size(), port).ptr !=
          text.data() + text.size()) {
    return fail(ErrorCode::kInvalidConfig,
                "Unable to parse " + text + " to a broker endpoint; write NAME://host:port");
  }
  endpoint.name = text.substr(0, scheme);
  std::transform(endpoint.name.begin(), endpoint.name.end(), endpoint.name.begin(),
                 [](unsigned char c) { return std::toupper(c); });
  endpoint.host = text.substr(scheme + 3, colon - scheme - 3);
  if (endpoint.host.starts_with('[') && endpoint.host.ends_with(']')) {
    endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
  }
  endpoint.port = port;
  return endpoint;
}

Result<std::vector<Endpoint>> parse_endpoints(const std::string& list,
                                              const std::map<std::string, std::string>& protocols) {
  std::vector<Endpoint> endpoints;
  for (const std::string& text : split_list(list)) {
    TRY(Endpoint endpoint, parse_endpoint(text));
    const auto protocol = protocols.find(endpoint.name);
    if (protocol == protocols.end()) {
      return fail(ErrorCode::kInvalidConfig, "No security protocol defined for listener " +
                                                 endpoint.name +
                                                 "; add it to listener.security.protocol.map");
    }
    endpoint.protocol = protocol->second;
    endpoints.push_back(std::move(endpoint));
  }
  return endpoints;
}

int64_t to_number(const std::string& text) {
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::optional<protocol::Compression> parse_compression(const std::string& name) {
  using protocol::Compression;
  const std::map<std::string, Compression> names = {{"uncompressed", Compression::kNone},
                                                    {"gzip", Compression::kGzip},
                                                    {"snappy", Compression::kSnappy},
                                                    {"lz4", Compression::kLz4},
                                                    {"zstd", Compression::kZstd}};
  const auto found = names.find(name);
  return found == names.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace

Result<BrokerConfig> BrokerConfig::make(ConfigMap given) {
  BrokerConfig config;
  if (given.contains("advertised.listeners") && !given.contains("listeners")) {
    std::string listeners;
    for (const std::string& text : split_list(given["advertised.listeners"])) {
      TRY(const Endpoint endpoint, parse_endpoint(text));
      listeners += (listeners.empty() ? "" : ",") + endpoint.name +
                   "://0.0.0.0:" + std::to_string(endpoint.port);
    }
    given["listeners"] = listeners;
  }
  if (given.contains("broker.id") && !given.contains("node.id")) {
    given["node.id"] = given["broker.id"];
  }
  for (const auto& [name, value] : given) {
    const ConfigKey* key = find_key(broker_keys(), name);
    key = key == nullptr ? find_key(klamm_keys(), name) : key;
    if (key == nullptr) {
      config.unknown_.push_back(name);
    } else {
      TRY_VOID(check_value(*key, value));
    }
  }
  config.given_ = std::move(given);
  for (const auto& [name, value] : kWorkingDefaults) {
    // The log.dir of old setups stands in for log.dirs.
    if (!(name == "log.dirs" && config.given_.contains("log.dir"))) {
      config.given_.emplace(name, value);
    }
  }
  config.given_.emplace("broker.id", config.given_["node.id"]);
  TRY_VOID(config.resolve_listeners());
  return config;
}

Result<> BrokerConfig::resolve_listeners() {
  std::map<std::string, std::string> protocols;
  for (const std::string& pair : split_list(get("listener.security.protocol.map"))) {
    const size_t colon = pair.find(':');
    if (colon == std::string::npos) {
      return fail(ErrorCode::kInvalidConfig,
                  "listener.security.protocol.map has no protocol in: " + pair);
    }
    protocols[pair.substr(0, colon)] = pair.substr(colon + 1);
  }
  controller_names_ = split_list(get("controller.listener.names"));
  TRY(const auto listeners, parse_endpoints(get("listeners"), protocols));
  for (const Endpoint& endpoint : listeners) {
    const bool of_controller = is_controller_listener(endpoint.name);
    if (of_controller ? is_controller() : is_broker()) {
      (of_controller ? controller_listeners_ : listeners_).push_back(endpoint);
    }
  }
  const std::string* advertised_list = find("advertised.listeners");
  TRY(const auto advertised,
      parse_endpoints(advertised_list == nullptr ? "" : *advertised_list, protocols));
  for (const Endpoint& endpoint : advertised) {
    (is_controller_listener(endpoint.name) ? controller_advertised_ : advertised_)
        .push_back(endpoint);
  }
  const auto fill = [](std::vector<Endpoint>& to, const std::vector<Endpoint>& from) {
    if (to.empty()) {
      to = from;
      for (Endpoint& endpoint : to) {
        const bool any = endpoint.host.empty() || endpoint.host == "0.0.0.0";
        endpoint.host = any ? "localhost" : endpoint.host;
      }
    }
  };
  fill(advertised_, listeners_);
  fill(controller_advertised_, controller_listeners_);
  return check_listeners();
}

Result<> BrokerConfig::check_listeners() const {
  if (!is_broker() && !is_controller()) {
    return fail(ErrorCode::kInvalidConfig,
                "process.roles must name broker, controller or both, not: " + get("process.roles"));
  }
  if (is_broker() && listeners_.empty()) {
    return fail(ErrorCode::kInvalidConfig,
                "There must be at least one broker listener. Set listeners to something like "
                "PLAINTEXT://:9092");
  }
  const bool has_others = split_list(get("controller.quorum.voters")).size() > 1 || !is_broker();
  if (is_controller() && has_others && controller_listeners_.empty()) {
    return fail(ErrorCode::kInvalidConfig,
                "A controller that others must reach needs a listener of controller.listener.names "
                "(" +
                    get("controller.listener.names") +
                    ") among its listeners, for example CONTROLLER://:9093");
  }
  if (!is_controller() && split_list(get("controller.quorum.voters")).empty() &&
      split_list(get("controller.quorum.bootstrap.servers")).empty()) {
    return fail(ErrorCode::kInvalidConfig,
                "A broker without the controller role must be told where the controllers are: set "
                "controller.quorum.bootstrap.servers to host:port, or controller.quorum.voters to "
                "id@host:port");
  }
  for (const auto* const list : {&listeners_, &controller_listeners_}) {
    for (const Endpoint& listener : *list) {
      if (listener.protocol != "PLAINTEXT") {
        return fail(ErrorCode::kInvalidConfig,
                    "Listener " + listener.name + " wants " + listener.protocol +
                        ", which this version does not serve yet; use PLAINTEXT");
      }
    }
  }
  for (const Endpoint& endpoint : advertised_) {
    if (endpoint.host == "0.0.0.0") {
      return fail(ErrorCode::kInvalidConfig,
                  "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a "
                  "routable IP address.");
    }
  }
  return {};
}

bool BrokerConfig::has_role(const std::string& role) const {
  const auto roles = split_list(get("process.roles"));
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

bool BrokerConfig::is_controller_listener(const std::string& name) const {
  return std::find(controller_names_.begin(), controller_names_.end(), name) !=
         controller_names_.end();
}

std::string BrokerConfig::inter_broker_listener() const {
  const std::string* const name = find("inter.broker.listener.name");
  if (name != nullptr && !name->empty()) {
    return *name;
  }
  const std::string wanted = get("security.inter.broker.protocol");
  const auto found = std::find_if(advertised_.begin(), advertised_.end(),
                                  [&](const auto& each) { return each.protocol == wanted; });
  return found == advertised_.end() ? wanted : found->name;
}

void BrokerConfig::follow(const ConfigMap& cluster, const ConfigMap& own) {
  const auto take = [](const ConfigMap& from) {
    ConfigMap taken = from;
    std::erase_if(taken, [](const auto& entry) {
      const ConfigKey* const key = find_broker_key(entry.first);
      return key == nullptr || key->update == ConfigUpdate::kReadOnly ||
             !check_value(*key, entry.second);
    });
    return taken;
  };
  cluster_ = take(cluster);
  own_ = take(own);
}

std::vector<std::pair<ConfigSource, std::string>> BrokerConfig::settings(
    const std::string& name) const {
  std::vector<std::pair<ConfigSource, std::string>> all;
  for (const auto& [source, values] : {std::pair{ConfigSource::kDynamicBroker, &own_},
                                       {ConfigSource::kDynamicDefault, &cluster_},
                                       {ConfigSource::kStatic, &given_}}) {
    if (const auto found = values->find(name); found != values->end()) {
      all.emplace_back(source, found->second);
    }
  }
  return all;
}

const std::string* BrokerConfig::find(std::string_view name) const {
  const std::string key(name);
  for (const ConfigMap* const values : {&own_, &cluster_, &given_}) {
    if (const auto found = values->find(key); found != values->end()) {
      return &found->second;
    }
  }
  static std::map<std::string, std::string, std::less<>> defaults = [] {
    std::map<std::string, std::string, std::less<>> all;
    for (const auto keys : {broker_keys(), throttle_keys(), klamm_keys()}) {
      for (const ConfigKey& key : keys) {
        if (key.default_value != nullptr) {
          all[std::string(key.name)] = key.default_value;
        }
      }
    }
    return all;
  }();
  const auto found = defaults.find(name);
  return found == defaults.end() ? nullptr : &found->second;
}

std::string BrokerConfig::get(std::string_view name) const {
  const std::string* value = find(name);
  return value == nullptr ? "" : *value;
}

int64_t BrokerConfig::number(std::string_view name) const { return to_number(get(name)); }

std::vector<std::string> BrokerConfig::log_dirs() const {
  const std::string* dirs = find("log.dirs");
  return split_list(dirs == nullptr ? get("log.dir") : *dirs);
}

ConfigMap config_from_environment(const std::vector<std::string>& environment) {
  ConfigMap given;
  for (const std::string& entry : environment) {
    const size_t equals = entry.find('=');
    if (!entry.starts_with("KAFKA_") || equals == std::string::npos) {
      continue;
    }
    std::string name = entry.substr(6, equals - 6);
    if (kNotProperties.contains(name)) {
      continue;
    }
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    name = replace_all(replace_all(replace_all(name, "_", "."), "...", "-"), "..", "_");
    given[name] = entry.substr(equals + 1);
  }
  return given;
}

std::string topic_default(const BrokerConfig& config, const ConfigKey& key) {
  for (const std::string& synonym : split_list(key.broker_synonyms)) {
    const std::string* value = config.find(synonym);
    if (value == nullptr) {
      continue;
    }
    const bool ms = key.name.ends_with(".ms");
    if (ms && synonym.ends_with(".hours")) {
      const int64_t hours = to_number(*value);
      return std::to_string(hours < 0 ? hours : hours * 3'600'000);
    }
    if (ms && synonym.ends_with(".minutes")) {
      const int64_t minutes = to_number(*value);
      return std::to_string(minutes < 0 ? minutes : minutes * 60'000);
    }
    if (!config.settings(synonym).empty() || synonym == key.broker_synonyms) {
      return *value;
    }
  }
  return key.default_value == nullptr ? "" : key.default_value;
}

Result<> check_topic_config(const ConfigMap& overrides) {
  for (const auto& [name, value] : overrides) {
    const ConfigKey* key = find_key(topic_keys(), name);
    if (key == nullptr) {
      return fail(ErrorCode::kInvalidConfig, "Unknown topic config name: " + name);
    }
    TRY_VOID(check_value(*key, value));
  }
  return {};
}

storage::LogConfig resolve_log_config(const BrokerConfig& config, const ConfigMap& overrides) {
  const auto value = [&](const char* name) {
    const auto found = overrides.find(name);
    return found != overrides.end() ? found->second
                                    : topic_default(config, *find_key(topic_keys(), name));
  };
  const auto number = [&](const char* name) { return to_number(value(name)); };
  storage::LogConfig log;
  log.segment_bytes = number("segment.bytes");
  if (overrides.contains("internal.segment.bytes")) {
    log.segment_bytes = number("internal.segment.bytes");
  }
  log.segment_ms = number("segment.ms");
  log.segment_index_bytes = number("segment.index.bytes");
  log.index_interval_bytes = number("index.interval.bytes");
  log.retention_ms = number("retention.ms");
  log.retention_bytes = number("retention.bytes");
  log.file_delete_delay_ms = number("file.delete.delay.ms");
  log.flush_messages = number("flush.messages");
  log.flush_ms = number("flush.ms");
  log.preallocate = value("preallocate") == "true";
  log.max_message_bytes = number("max.message.bytes");
  log.max_decompressed_message_bytes = number("max.decompressed.message.bytes");
  log.timestamp_before_max_ms = number("message.timestamp.before.max.ms");
  log.timestamp_after_max_ms = number("message.timestamp.after.max.ms");
  log.min_insync_replicas = static_cast<int32_t>(number("min.insync.replicas"));
  log.min_cleanable_dirty_ratio = std::stod(value("min.cleanable.dirty.ratio"));
  log.min_compaction_lag_ms = number("min.compaction.lag.ms");
  log.max_compaction_lag_ms = number("max.compaction.lag.ms");
  log.delete_retention_ms = number("delete.retention.ms");
  const auto policies = split_list(value("cleanup.policy"));
  log.cleanup_delete = std::find(policies.begin(), policies.end(), "delete") != policies.end();
  log.cleanup_compact = std::find(policies.begin(), policies.end(), "compact") != policies.end();
  if (log.cleanup_compact) {
    // What must be compacted by then has to be in a closed segment by then.
    log.segment_ms = std::min(log.segment_ms, log.max_compaction_lag_ms);
  }
  log.timestamp_type = value("message.timestamp.type") == "LogAppendTime"
                           ? protocol::TimestampType::kLogAppendTime
                           : protocol::TimestampType::kCreateTime;
  const std::string codec = value("compression.type");
  log.compression = parse_compression(codec);
  if (codec == "gzip" || codec == "lz4" || codec == "zstd") {
    log.compression_level = static_cast<int>(number(("compression." + codec + ".level").c_str()));
  }
  return log;
}

}  // namespace klamm::broker
