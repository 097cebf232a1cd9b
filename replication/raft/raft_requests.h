#pragma once
// What the requests of the quorum have in common: they name one partition of one topic.
#include <optional>
#include <string>

#include "protocol/error_code.h"
#include "replication/transport.h"

namespace klamm::replication {

inline constexpr const char* kMetadataTopic = "__cluster_metadata";

// The one partition that a request or answer names, nullptr when it names none or several.
template <class Topics>
auto only_partition(const Topics& topics)
    -> const std::remove_cvref_t<decltype(topics.front().partitions.front())>* {
  return topics.size() == 1 && topics.front().partitions.size() == 1
             ? &topics.front().partitions.front()
             : nullptr;
}

template <class Partition>
ErrorCode check_request(const std::optional<std::string>& cluster, const std::string& ours,
                        const Partition* partition) {
  if (cluster && *cluster != ours) {
    return ErrorCode::kInconsistentClusterId;
  }
  return partition == nullptr ? ErrorCode::kInvalidRequest : ErrorCode::kNone;
}

template <class Endpoint>
void add_leader(std::vector<Endpoint>& endpoints, int32_t leader, const Address* address) {
  if (leader >= 0 && address != nullptr) {
    endpoints.push_back({.node_id = leader, .host = address->host, .port = address->port});
  }
}

}  // namespace klamm::replication
