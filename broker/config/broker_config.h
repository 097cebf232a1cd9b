#pragma once
// The broker's configuration: Kafka's names, types and defaults, merged in this order: Kafka's
// defaults, the defaults of a working single node, server.properties, KAFKA_* of the environment,
// --override on the command line.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "broker/config/keys.h"
#include "protocol/base/result.h"
#include "storage/log_config.h"

namespace klamm::broker {

using ConfigMap = std::map<std::string, std::string>;

struct Endpoint {
  std::string name;  // of the listener
  std::string host;  // empty: every address
  uint16_t port = 0;
  std::string protocol;  // PLAINTEXT, SSL, ...
};

// Where the value of a key came from; the numbers are DescribeConfigs' config sources.
enum class ConfigSource : int8_t {
  kTopic = 1,
  kDynamicBroker = 2,
  kDynamicDefault = 3,
  kStatic = 4,
  kDefault = 5,
  kClientMetrics = 7,
  kGroup = 8
};

class BrokerConfig {
 public:
  // `given` holds what was set, highest precedence already resolved. INVALID_CONFIG for values that
  // do not parse and for combinations that cannot work; keys that nobody knows are kept and
  // reported by unknown_keys().
  static Result<BrokerConfig> make(ConfigMap given);

  // Takes over what is set at run time: for every broker, and for this one, which goes first. Keys
  // that only a start can change are left as they are.
  void follow(const ConfigMap& cluster, const ConfigMap& own);

  // The value in force, or nullptr when there is none.
  const std::string* find(std::string_view name) const;
  std::string get(std::string_view name) const;
  int64_t number(std::string_view name) const;
  bool flag(std::string_view name) const { return get(name) == "true"; }
  // By whom it was set, most specific first.
  std::vector<std::pair<ConfigSource, std::string>> settings(const std::string& name) const;
  const ConfigMap& given() const { return given_; }
  const std::vector<std::string>& unknown_keys() const { return unknown_; }

  bool is_broker() const { return has_role("broker"); }
  bool is_controller() const { return has_role("controller"); }
  // The listeners of the controller role, and how others are told to reach them.
  const std::vector<Endpoint>& controller_listeners() const { return controller_listeners_; }
  const std::vector<Endpoint>& controller_advertised() const { return controller_advertised_; }
  bool is_controller_listener(const std::string& name) const;
  // The listener by which brokers call each other (inter.broker.listener.name).
  std::string inter_broker_listener() const;

  int32_t node_id() const { return static_cast<int32_t>(number("node.id")); }
  const std::vector<Endpoint>& listeners() const { return listeners_; }  // of the broker role
  const std::vector<Endpoint>& advertised() const { return advertised_; }
  std::vector<std::string> log_dirs() const;

 private:
  bool has_role(const std::string& role) const;
  Result<> resolve_listeners();
  Result<> check_listeners() const;
  ConfigMap own_;      // set at run time for this broker,
  ConfigMap cluster_;  // and for all
  ConfigMap given_;
  std::vector<std::string> unknown_;
  std::vector<Endpoint> listeners_;
  std::vector<Endpoint> advertised_;
  std::vector<std::string> controller_names_;  // controller.listener.names
  std::vector<Endpoint> controller_listeners_;
  std::vector<Endpoint> controller_advertised_;
};

// KAFKA_A_B=v -> a.b=v, by the rules of the official image; `environment` is a list of NAME=value.
ConfigMap config_from_environment(const std::vector<std::string>& environment);

// The value that a topic key has without an override: from the broker's configuration by its
// synonyms.
std::string topic_default(const BrokerConfig& config, const ConfigKey& key);
// INVALID_CONFIG when an override has an unknown key or a bad value.
Result<> check_topic_config(const ConfigMap& overrides);
// What the log needs to know, from the broker's configuration and the topic's overrides.
storage::LogConfig resolve_log_config(const BrokerConfig& config, const ConfigMap& overrides);

}  // namespace klamm::broker
