#pragma once
// What DescribeConfigs and CreateTopics tell of a configuration entry.
#include <optional>
#include <string>
#include <vector>

#include "broker/config/broker_config.h"

namespace klamm::broker {

struct ConfigSynonym {
  std::string name;
  std::optional<std::string> value;
  ConfigSource source;
};

struct ConfigDescription {
  std::string name;
  std::optional<std::string> value;  // nullopt also for what is secret
  ConfigSource source = ConfigSource::kDefault;
  bool read_only = false;
  bool sensitive = false;
  ConfigType type = ConfigType::kString;
  std::vector<ConfigSynonym> synonyms;  // most specific first
};

// Every topic key: the topic's override, else what the broker's configuration gives.
std::vector<ConfigDescription> describe_topic_config(const BrokerConfig& config,
                                                     const ConfigMap& overrides);
// Every broker key.
std::vector<ConfigDescription> describe_broker_config(const BrokerConfig& config);
// What is set at run time for all brokers.
std::vector<ConfigDescription> describe_cluster_config(const ConfigMap& overrides);
// Every group key.
std::vector<ConfigDescription> describe_group_config(const BrokerConfig& config,
                                                     const ConfigMap& overrides);
// Every key of a metrics subscription.
std::vector<ConfigDescription> describe_client_metrics(const BrokerConfig& config,
                                                       const ConfigMap& overrides);

}  // namespace klamm::broker
