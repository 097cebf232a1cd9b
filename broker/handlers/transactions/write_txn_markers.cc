// WriteTxnMarkers (key 27), v1-2.   v2: transaction versions (KIP-1228).   A transaction
// coordinator has the leaders of its partitions write that it has ended. Answered when all markers
// are committed.
#include <map>

#include "broker/cluster/end_markers.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/write_txn_markers_request.h"
#include "protocol/generated/write_txn_markers_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

std::vector<EndMarkerToWrite> markers_of(const WriteTxnMarkersRequest& request) {
  std::vector<EndMarkerToWrite> markers;
  for (const auto& marker : request.markers) {
    for (const auto& topic : marker.topics) {
      for (const int32_t partition : topic.partition_indexes) {
        markers.push_back({{marker.producer_id, marker.producer_epoch},
                           marker.transaction_result,
                           marker.coordinator_epoch,
                           marker.transaction_version,
                           topic.name,
                           partition});
      }
    }
  }
  return markers;
}

// One result for each producer.
WriteTxnMarkersResponse answer(const std::vector<EndMarkerToWrite>& markers,
                               const std::vector<ErrorCode>& codes) {
  std::map<int64_t, std::map<std::string, std::map<int32_t, ErrorCode>>> by_producer;
  for (size_t i = 0; i < markers.size(); ++i) {
    by_producer[markers[i].producer.id][markers[i].topic][markers[i].partition] = codes[i];
  }
  WriteTxnMarkersResponse response;
  for (const auto& [producer_id, topics] : by_producer) {
    auto& result = response.markers.emplace_back();
    result.producer_id = producer_id;
    for (const auto& [name, partitions] : topics) {
      auto& topic = result.topics.emplace_back();
      topic.name = name;
      for (const auto& [index, code] : partitions) {
        topic.partitions.push_back({.partition_index = index, .error_code = code});
      }
    }
  }
  return response;
}

}  // namespace

void handle(RequestContext& context, WriteTxnMarkersRequest&& request,
            Reply<WriteTxnMarkersResponse> reply) {
  auto markers = markers_of(request);
  write_end_markers(
      context.broker, markers,
      [markers, reply = std::move(reply)](const std::vector<ErrorCode>& codes) mutable {
        reply.send(answer(markers, codes));
      });
}

}  // namespace klamm::broker
