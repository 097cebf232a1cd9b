#pragma once
// Writes the markers that end transactions (KIP-98) to partitions that this node leads.
#include <functional>
#include <string>
#include <vector>

#include "broker/broker.h"

namespace klamm::broker {

// One marker for one partition.
struct EndMarkerToWrite {
  ProducerIdentity producer;
  bool commits = false;
  int32_t coordinator_epoch = -1;
  int16_t version = 0;  // transaction.version of what ends
  std::string topic;
  int32_t partition = 0;
};

// `done` gets a code for each, in their order, once they are committed or have failed. Coordinators
// that keep state in such a partition have heard of it by then.
void write_end_markers(Broker& here, std::vector<EndMarkerToWrite> markers,
                       std::move_only_function<void(std::vector<ErrorCode>)> done);

}  // namespace klamm::broker
