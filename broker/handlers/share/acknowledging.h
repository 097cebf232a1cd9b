#pragma once
// What ShareFetch and ShareAcknowledge have in common: acknowledgements of records, by partition.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/ask_owners.h"
#include "broker/cluster/broker_address.h"
#include "broker/share/shares.h"

namespace klamm::broker {

struct PartitionAcks {
  SharePartitionKey key;
  std::vector<Acknowledgement> acks;
};

// What became of a partition's acknowledgements.
struct AckOutcome {
  SharePartitionKey key;
  ErrorCode error = ErrorCode::kNone;
  std::string why;
};

// Those of a request; partitions without any are left out unless `all`.
template <class Request>
std::vector<PartitionAcks> take_acks(const Request& request, bool all) {
  std::vector<PartitionAcks> taken;
  for (const auto& topic : request.topics) {
    for (const auto& partition : topic.partitions) {
      if (partition.acknowledgement_batches.empty() && !all) {
        continue;
      }
      auto& out = taken.emplace_back();
      out.key = {request.group_id.value_or(""), topic.topic_id, partition.partition_index};
      for (const auto& batch : partition.acknowledgement_batches) {
        auto& ack = out.acks.emplace_back(batch.first_offset, batch.last_offset);
        for (const int8_t type : batch.acknowledge_types) {
          ack.types.push_back(static_cast<AckType>(type));
        }
      }
    }
  }
  return taken;
}

// Locks are renewed by requests that say so, of a version that knows it.
inline Result<> check_renewals(const PartitionAcks& acks, bool may_renew) {
  for (const auto& ack : acks.acks) {
    if (!may_renew && std::ranges::find(ack.types, AckType::kRenew) != ack.types.end()) {
      return fail(ErrorCode::kInvalidRequest, "The request renews, but does not say so.");
    }
  }
  return {};
}

// Has every partition's leader take its acknowledgements; `done` gets the outcomes, in order.
template <class Done>
void acknowledge_all(Broker& broker, std::vector<PartitionAcks> acks, const std::string& member_id,
                     bool may_renew, Done done) {
  ask_owners_for<AckOutcome>(
      broker, std::move(acks),
      [&broker](const PartitionAcks& each) {
        return broker.owner(each.key.topic_id, each.key.partition);
      },
      [member_id, may_renew](Broker& owner, PartitionAcks& each, AnswerSlot<AckOutcome> slot) {
        const auto put = [key = each.key, shared = std::make_shared<AnswerSlot<AckOutcome>>(
                                              std::move(slot))](const Result<>& outcome) {
          shared->put(outcome ? AckOutcome{key}
                              : AckOutcome{key, outcome.error().code, outcome.error().why});
        };
        const auto topic = owner.image()->topic(each.key.topic_id);
        if (topic == nullptr || !topic->partitions.contains(each.key.partition)) {
          return put(fail(ErrorCode::kUnknownTopicOrPartition, "There is no such partition."));
        }
        if (const auto allowed = check_renewals(each, may_renew); !allowed) {
          return put(allowed);
        }
        if (each.acks.empty()) {
          return put({});
        }
        owner.shares().partitions().acknowledge(each.key, member_id, each.acks, put);
      },
      std::move(done));
}

inline std::optional<std::string> text_or_null(const std::string& why) {
  return why.empty() ? std::nullopt : std::optional(why);
}

// Tells of the leader that a client should go to instead.
template <class Response, class Partition>
void name_leader(const Broker& broker, const std::string& listener, const SharePartitionKey& key,
                 Response& response, Partition& partition) {
  if (partition.error_code != ErrorCode::kNotLeaderOrFollower) {
    return;
  }
  const auto topic = broker.image()->topic(key.topic_id);
  if (topic == nullptr || !topic->partitions.contains(key.partition)) {
    return;
  }
  const auto& image = topic->partitions.at(key.partition);
  partition.current_leader.leader_id = image.leader;
  partition.current_leader.leader_epoch = image.leader_epoch;
  if (const auto address = address_of(*broker.image(), image.leader, listener)) {
    response.node_endpoints.push_back(
        {.node_id = image.leader, .host = address->host, .port = address->port});
  }
}

}  // namespace klamm::broker
