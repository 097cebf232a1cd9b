#include "broker/cluster/broker_watch.h"

#include "broker/cluster/broker_address.h"

namespace klamm::broker {

void BrokerWatch::follow(const replication::MetadataImage& image, bool active) {
  std::erase_if(watched_, [&](const auto& entry) {
    const auto broker = image.brokers.find(entry.first);
    return !active || broker == image.brokers.end() || broker->second.fenced ||
           broker->second.epoch != entry.second.epoch;
  });
  if (!active) {
    return;
  }
  for (const auto& [id, broker] : image.brokers) {
    if (id == self_ || broker.fenced || watched_.contains(id)) {
      continue;
    }
    if (const auto address = address_of(image, id, listener_)) {
      watched_[id] = {
          broker.epoch,
          transport_.watch(*address, [this, id = id, epoch = broker.epoch] { gone_(id, epoch); })};
    }
  }
}

}  // namespace klamm::broker
