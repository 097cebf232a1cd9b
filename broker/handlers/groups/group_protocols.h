#pragma once
// Which group protocols this broker serves: what is configured and what the cluster's features say.
#include "broker/broker.h"

namespace klamm::broker {

// A broker that has not heard of any feature does not know: it has just begun, and refuses for
// reasons that pass.
inline bool has_feature(Broker& broker, const char* name) {
  const auto& features = broker.image()->features;
  const auto level = features.find(name);
  return features.empty() || (level != features.end() && level->second > 0);
}

inline bool serves_consumer_groups(Broker& broker) {
  return broker.groups().serves("consumer") && has_feature(broker, "group.version");
}

inline bool serves_streams_groups(Broker& broker) {
  return broker.groups().serves("streams") && has_feature(broker, "streams.version");
}

// The feature alone decides on these (KIP-932).
inline bool serves_share_groups(Broker& broker) { return has_feature(broker, "share.version"); }

}  // namespace klamm::broker
