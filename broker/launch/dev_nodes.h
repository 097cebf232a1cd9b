#pragma once
// `klamm dev --nodes N`: a cluster of real nodes on this machine, each a process of its own, that
// are stopped, killed and started again by number.
#include <cstdint>
#include <string>

#include "protocol/base/result.h"

namespace klamm::broker {

struct DevNodes {
  int count = 3;
  uint16_t port = 9092;  // of the first node; the others listen on the next ones
  std::string folder;    // for the nodes' data and logs; empty: a temporary one
};

// Runs until `quit`, the end of the input and a signal, or a signal. INVALID_CONFIG,
// KAFKA_STORAGE_ERROR.
Result<> run_dev_nodes(const DevNodes& wish);

}  // namespace klamm::broker
