#include "broker/cluster/transaction_markers.h"

#include <spdlog/spdlog.h>

#include "broker/cluster/broker_address.h"
#include "broker/cluster/end_markers.h"
#include "broker/node.h"
#include "protocol/generated/write_txn_markers_request.h"
#include "protocol/generated/write_txn_markers_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int64_t kRetryMs = 100;

// Another coordinator, or a newer life of the producer, has ended the transaction.
bool is_fenced(ErrorCode code) {
  return code == ErrorCode::kInvalidProducerEpoch ||
         code == ErrorCode::kTransactionCoordinatorFenced;
}

}  // namespace

int16_t TransactionMarkers::version() const {
  const auto& features = broker_.image()->features;
  const auto found = features.find("transaction.version");
  return found == features.end() ? int16_t{0} : found->second;
}

void TransactionMarkers::new_producer_id(std::function<void(Result<int64_t>)> done) {
  broker_.at_controller([home = broker_.shard(), done = std::move(done)](Node& node) mutable {
    node.next_producer_id([&node, home, done = std::move(done)](Result<int64_t> id) mutable {
      node.shard(kControllerShard).at(home, [done = std::move(done), id = std::move(id)](Broker&) {
        done(id);
      });
    });
  });
}

void TransactionMarkers::write_markers(TransactionEnd end, std::function<void()> done) {
  const auto ending = std::make_shared<Ending>(Ending{std::move(end), std::move(done)});
  if (ending->end.partitions.empty()) {
    return ending->done();
  }
  hand_out(ending, std::set(ending->end.partitions));
}

void TransactionMarkers::hand_out(const std::shared_ptr<Ending>& ending,
                                  const std::set<TransactionPlace>& places) {
  std::map<int32_t, Share> by_leader;
  for (const TransactionPlace& place : places) {
    const auto* const partition = broker_.image()->partition(place.first, place.second);
    if (partition == nullptr) {
      ending->end.partitions.erase(place);  // what is deleted needs no end
      continue;
    }
    Share& share = by_leader[partition->leader];
    share.ending = ending;
    share.places.push_back(place);
  }
  for (auto& [leader, share] : by_leader) {
    outgoing_[leader].waiting.push_back(std::move(share));
  }
  for (const auto& [leader, share] : by_leader) {
    send(leader);
  }
  if (by_leader.empty() && ending->end.partitions.empty()) {
    ending->done();
  }
}

void TransactionMarkers::send(int32_t leader) {
  Outgoing& outgoing = outgoing_[leader];
  if (outgoing.asking || outgoing.waiting.empty()) {
    return;
  }
  auto shares = std::exchange(outgoing.waiting, {});
  if (leader == broker_.config().node_id()) {
    return send_here(std::move(shares));
  }
  const auto to = address_of(*broker_.image(), leader, broker_.config().inter_broker_listener());
  if (!to) {
    for (const Share& share : shares) {
      try_again(share.ending, {share.places.begin(), share.places.end()});
    }
    return;
  }
  outgoing.asking = true;
  send_there(leader, *to, std::move(shares));
}

void TransactionMarkers::send_here(std::vector<Share> shares) {
  std::vector<EndMarkerToWrite> markers;
  for (const Share& share : shares) {
    const TransactionEnd& end = share.ending->end;
    for (const auto& [topic, partition] : share.places) {
      markers.push_back(
          {end.producer, end.commits, end.coordinator_epoch, end.version, topic, partition});
    }
  }
  write_end_markers(broker_, std::move(markers),
                    [this, shares = std::move(shares)](const std::vector<ErrorCode>& codes) {
                      auto next = codes.begin();
                      for (const Share& share : shares) {
                        std::map<TransactionPlace, ErrorCode> of_share;
                        for (const TransactionPlace& place : share.places) {
                          of_share[place] = *next++;
                        }
                        settle(share, of_share);
                      }
                    });
}

namespace {

WriteTxnMarkersRequest::WritableTxnMarker to_marker(const TransactionEnd& end,
                                                    const std::vector<TransactionPlace>& places) {
  WriteTxnMarkersRequest::WritableTxnMarker marker;
  marker.producer_id = end.producer.id;
  marker.producer_epoch = end.producer.epoch;
  marker.transaction_result = end.commits;
  marker.coordinator_epoch = end.coordinator_epoch;
  marker.transaction_version = static_cast<int8_t>(end.version);
  for (const auto& [topic, partition] : places) {
    if (marker.topics.empty() || marker.topics.back().name != topic) {
      marker.topics.push_back({.name = topic});
    }
    marker.topics.back().partition_indexes.push_back(partition);
  }
  return marker;
}

}  // namespace

void TransactionMarkers::send_there(int32_t leader, const replication::Address& to,
                                    std::vector<Share> shares) {
  WriteTxnMarkersRequest request;
  for (const Share& share : shares) {
    request.markers.push_back(to_marker(share.ending->end, share.places));
  }
  const auto on_answer =
      [this, leader, shares = std::move(shares)](const Result<WriteTxnMarkersResponse>& answer) {
        outgoing_[leader].asking = false;
        // One id has one transaction at a time, so that it names its share.
        std::map<int64_t, std::map<TransactionPlace, ErrorCode>> codes;
        if (answer) {
          for (const auto& marker : answer->markers) {
            for (const auto& topic : marker.topics) {
              for (const auto& partition : topic.partitions) {
                codes[marker.producer_id][{topic.name, partition.partition_index}] =
                    partition.error_code;
              }
            }
          }
        }
        for (const Share& share : shares) {
          settle(share, codes[share.ending->end.producer.id]);
        }
        send(leader);
      };
  replication::call<WriteTxnMarkersResponse>(broker_.transport(), to, std::move(request),
                                             broker_.config().number("request.timeout.ms"),
                                             on_answer);
}

// A partition without a code has not been heard of.
void TransactionMarkers::settle(const Share& share,
                                const std::map<TransactionPlace, ErrorCode>& codes) {
  std::set<TransactionPlace> left;
  for (const TransactionPlace& place : share.places) {
    const auto found = codes.find(place);
    const ErrorCode code = found == codes.end() ? ErrorCode::kNetworkException : found->second;
    if (is_fenced(code)) {
      spdlog::info("the transaction of producer {} has been ended by someone else: {}",
                   share.ending->end.producer.id, name_of(code));
      return;
    }
    if (code == ErrorCode::kNone) {
      share.ending->end.partitions.erase(place);
    } else {
      left.insert(place);
    }
  }
  if (!left.empty()) {
    return try_again(share.ending, std::move(left));
  }
  if (share.ending->end.partitions.empty()) {
    share.ending->done();
  }
}

void TransactionMarkers::try_again(const std::shared_ptr<Ending>& ending,
                                   std::set<TransactionPlace> places) {
  broker_.timers().after(broker_.clock(), kRetryMs,
                         [this, ending, places = std::move(places)] { hand_out(ending, places); });
}

}  // namespace klamm::broker
