#pragma once
// What leaders propose for the ISR of their partitions (KIP-497, KIP-841).
#include "protocol/generated/alter_partition_request.h"
#include "protocol/generated/alter_partition_response.h"
#include "replication/controller/elections.h"

namespace klamm::replication {

struct AlteredPartitions {
  protocol::AlterPartitionResponse response;
  std::vector<Bytes> records;
};

// Each partition succeeds or fails by itself. The response shows the state after the records.
AlteredPartitions alter_partitions(const MetadataImage& image,
                                   const protocol::AlterPartitionRequest& request, int16_t version);

}  // namespace klamm::replication
