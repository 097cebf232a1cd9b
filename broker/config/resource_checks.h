#pragma once
// Whether the configuration of a topic, broker, group or metrics subscription can stand as a whole.
#include <string>

#include "broker/config/broker_config.h"
#include "replication/metadata/image.h"

namespace klamm::broker {

// All of a resource's overrides together. INVALID_REQUEST for a name that the kind does not have,
// INVALID_CONFIG (for brokers and subscriptions often INVALID_REQUEST) for the rest.
Result<> check_resource(replication::ConfigResource type, const std::string& name,
                        const ConfigMap& values, const BrokerConfig& config);

// Values that a broker shall take over while it runs, for itself or for all. INVALID_REQUEST.
Result<> check_broker_values(const ConfigMap& values, bool for_all, const BrokerConfig& config);

}  // namespace klamm::broker
