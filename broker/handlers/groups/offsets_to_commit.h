#pragma once
// What OffsetCommit and TxnOffsetCommit have in common: their topics, which name the same fields.
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "broker/coordinator/group/group_shard.h"
#include "protocol/error_code.h"

namespace klamm::broker {

// The offsets that may be committed. `response` gets all topics, with UNKNOWN_TOPIC_ID,
// UNKNOWN_TOPIC_OR_PARTITION or OFFSET_METADATA_TOO_LARGE where one may not.
template <class Request, class Response>
std::vector<OffsetToCommit> take_offsets(Broker& broker, const Request& request, bool by_id,
                                         int64_t expire_ms, Response& response) {
  std::vector<OffsetToCommit> offsets;
  for (const auto& topic : request.topics) {
    const auto image =
        by_id ? broker.image()->topic(topic.topic_id) : broker.image()->topic(topic.name);
    auto& out = response.topics.emplace_back();
    out.name = topic.name;
    out.topic_id = topic.topic_id;
    for (const auto& partition : topic.partitions) {
      auto& result = out.partitions.emplace_back();
      result.partition_index = partition.partition_index;
      std::string metadata = partition.committed_metadata.value_or("");
      if (image == nullptr || !image->partitions.contains(partition.partition_index)) {
        result.error_code = image == nullptr && by_id
                                ? protocol::ErrorCode::kUnknownTopicId
                                : protocol::ErrorCode::kUnknownTopicOrPartition;
      } else if (static_cast<int64_t>(metadata.size()) > broker.groups().metadata_size_max()) {
        result.error_code = protocol::ErrorCode::kOffsetMetadataTooLarge;
      } else {
        auto& taken = offsets.emplace_back(image->name, partition.partition_index);
        taken.value.offset = partition.committed_offset;
        taken.value.leader_epoch = partition.committed_leader_epoch;
        taken.value.metadata = std::move(metadata);
        taken.value.commit_timestamp = broker.clock().wall_ms();
        taken.value.expire_timestamp = expire_ms;
        taken.value.topic_id = image->id;
      }
    }
  }
  return offsets;
}

// What became of the offsets that were taken.
template <class Response>
void note_outcome(Response& response, protocol::ErrorCode outcome) {
  for (auto& topic : response.topics) {
    for (auto& partition : topic.partitions) {
      if (partition.error_code == protocol::ErrorCode::kNone) {
        partition.error_code = outcome;
      }
    }
  }
}

}  // namespace klamm::broker
