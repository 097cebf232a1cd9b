// AddPartitionsToTxn (key 24), v0-5.   v0-3: one transaction, from its producer.   v2:
// PRODUCER_FENCED.   v4: several, from brokers, which may also only ask whether the partitions are
// in it (KIP-890).   Answered when all additions are committed.
#include "broker/ask_owners.h"
#include "broker/handlers/handlers.h"
#include "broker/handlers/transactions/fencing.h"
#include "protocol/generated/add_partitions_to_txn_request.h"
#include "protocol/generated/add_partitions_to_txn_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Asked = AddPartitionsToTxnRequest::AddPartitionsToTxnTransaction;
using TransactionResult = AddPartitionsToTxnResponse::AddPartitionsToTxnResult;
constexpr int16_t kVersionWithFencing = 2;
constexpr int16_t kVersionForBrokers = 4;

// The same for all partitions.
TransactionResult answer_all(const Asked& asked, ErrorCode code) {
  TransactionResult result;
  result.transactional_id = asked.transactional_id;
  for (const auto& topic : asked.topics) {
    auto& out = result.topic_results.emplace_back();
    out.name = topic.name;
    for (const int32_t partition : topic.partitions) {
      out.results_by_partition.push_back(
          {.partition_index = partition, .partition_error_code = code});
    }
  }
  return result;
}

// When a partition does not exist none is added. nullopt: all are there.
std::optional<TransactionResult> refuse_unknown(const Broker& broker, const Asked& asked) {
  TransactionResult result = answer_all(asked, ErrorCode::kOperationNotAttempted);
  bool all_known = true;
  for (auto& topic : result.topic_results) {
    for (auto& partition : topic.results_by_partition) {
      if (broker.image()->partition(topic.name, partition.partition_index) == nullptr) {
        partition.partition_error_code = ErrorCode::kUnknownTopicOrPartition;
        all_known = false;
      }
    }
  }
  return all_known ? std::nullopt : std::optional(std::move(result));
}

TransactionResult verify(const TransactionShard& shard, const Asked& asked) {
  TransactionResult result = answer_all(asked, ErrorCode::kNone);
  for (auto& topic : result.topic_results) {
    for (auto& partition : topic.results_by_partition) {
      partition.partition_error_code =
          shard.verify(asked.transactional_id, {asked.producer_id, asked.producer_epoch},
                       {topic.name, partition.partition_index});
    }
  }
  return result;
}

void add(TransactionShard& shard, const Asked& asked, int16_t version, int64_t now_ms,
         AnswerSlot<TransactionResult> slot) {
  std::set<TransactionPlace> places;
  for (const auto& topic : asked.topics) {
    for (const int32_t partition : topic.partitions) {
      places.insert({topic.name, partition});
    }
  }
  const int16_t client_version =
      version >= kVersionForBrokers ? kVersionWithEpochPerTransaction : int16_t{0};
  shard.add_partitions(
      asked.transactional_id, {asked.producer_id, asked.producer_epoch}, places, client_version,
      now_ms, [asked, version, slot = std::move(slot)](ErrorCode error) mutable {
        slot.put(answer_all(asked, in_words_of(version >= kVersionWithFencing, error)));
      });
}

void ask(Broker& owner, const Asked& asked, int16_t version, AnswerSlot<TransactionResult> slot) {
  if (auto refused = refuse_unknown(owner, asked)) {
    return slot.put(std::move(*refused));
  }
  owner.with_own_transactions(asked.transactional_id, [&](Result<TransactionShard*> shard) {
    if (!shard) {
      return slot.put(answer_all(asked, shard.error().code));
    }
    asked.verify_only ? slot.put(verify(**shard, asked))
                      : add(**shard, asked, version, owner.clock().wall_ms(), std::move(slot));
  });
}

}  // namespace

void handle(RequestContext& context, AddPartitionsToTxnRequest&& request,
            Reply<AddPartitionsToTxnResponse> reply) {
  if (context.version < kVersionForBrokers) {
    request.transactions.push_back({.transactional_id = request.v3_and_below_transactional_id,
                                    .producer_id = request.v3_and_below_producer_id,
                                    .producer_epoch = request.v3_and_below_producer_epoch,
                                    .topics = std::move(request.v3_and_below_topics)});
  }
  ask_owners_for<TransactionResult>(
      context.broker, std::move(request.transactions),
      [&broker = context.broker](const Asked& asked) {
        return broker.transactions_owner(asked.transactional_id);
      },
      [version = context.version](Broker& owner, const Asked& asked,
                                  AnswerSlot<TransactionResult> slot) {
        ask(owner, asked, version, std::move(slot));
      },
      [reply = std::move(reply)](std::vector<TransactionResult> results) mutable {
        AddPartitionsToTxnResponse response;
        if (reply.version() < kVersionForBrokers) {
          response.results_by_topic_v3_and_below = std::move(results.front().topic_results);
        } else {
          response.results_by_transaction = std::move(results);
        }
        reply.send(response);
      });
}

}  // namespace klamm::broker
