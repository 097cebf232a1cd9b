#pragma once
// `klamm format`: makes directories those of a cluster before the first start, as the stock
// kafka-storage does.
#include <string>

#include "broker/config/broker_config.h"
#include "replication/raft/voters.h"
#include "storage/env/clock.h"
#include "storage/env/disk.h"

namespace klamm::broker {

struct FormatWish {
  std::string cluster_id;
  bool ignore_formatted = false;
  // Who votes (KIP-853): with none of these the quorum is static, or this controller finds it
  // through controller.quorum.bootstrap.servers.
  bool standalone = false;          // this controller alone, others may be added
  std::string initial_controllers;  // id@host:port:directory,...
};

// Formats the directories of the configuration. INVALID_CONFIG, INCONSISTENT_CLUSTER_ID,
// KAFKA_STORAGE_ERROR; says on stdout what it did.
Result<> format(storage::Disk& disk, const storage::Clock& clock, storage::Random& random,
                const BrokerConfig& config, const FormatWish& wish);

}  // namespace klamm::broker
