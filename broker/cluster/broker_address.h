#pragma once
// Where another broker listens.
#include <optional>
#include <string>

#include "replication/metadata/image.h"
#include "replication/transport.h"

namespace klamm::broker {

// nullopt while it is not registered, or not with that listener.
inline std::optional<replication::Address> address_of(const replication::MetadataImage& image,
                                                      int32_t broker, const std::string& listener) {
  const auto found = image.brokers.find(broker);
  if (found != image.brokers.end()) {
    for (const auto& endpoint : found->second.endpoints) {
      if (endpoint.name == listener) {
        return replication::Address{endpoint.host, endpoint.port};
      }
    }
  }
  return std::nullopt;
}

}  // namespace klamm::broker
