// AddPartitionsToTxn (key 24), v0-5.   v0-3: one transaction, from its producer.   v2:
// PRODUCER_FENCED.   v4: several, from brokers, which may also only ask whether the partitions are
// in it (KIP-890).   Answered when all additions are committed.
#include "broker/ask_owners.h"
#include "broker/handlers/handlers.h"
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

void add(TransactionShard& shard, Broker& owner, const Asked& asked, int16_t version,
         std::function<void(TransactionResult)> done) {
  std::set<TransactionPlace> places;
  for (const auto& topic : asked.topics) {
    for (const int32_t partition : topic.partitions) {
      places.insert({topic.name, partition});
    }
  }
  const int16_t client_version =
      version >= kVersionForBrokers ? kVersionWithEpochPerTransaction : int16_t{0};
  shard.add_partitions(asked.transactional_id, {asked.producer_id, asked.producer_epoch}, places,
                       client_version, owner.clock().wall_ms(),
                       [asked, version, done = std::move(done)](ErrorCode error) {
                         const bool is_old = version < kVersionWithFencing;
                         done(answer_all(asked, error == ErrorCode::kProducerFenced && is_old
                                                    ? ErrorCode::kInvalidProducerEpoch
                                                    : error));
                       });
}

void ask(Broker& here, const Asked& asked, int16_t version,
         std::function<void(TransactionResult)> done) {
  if (auto refused = refuse_unknown(here, asked)) {
    return done(std::move(*refused));
  }
  here.with_transactions(asked.transactional_id,
                         [asked, version, home = here.shard(), done = std::move(done)](
                             Result<TransactionShard*> shard, Broker& owner) {
                           const auto at_home = [&owner, home, done](TransactionResult result) {
                             owner.at(home, [done, result = std::move(result)](Broker&) mutable {
                               done(std::move(result));
                             });
                           };
                           if (!shard) {
                             return at_home(answer_all(asked, shard.error().code));
                           }
                           asked.verify_only ? at_home(verify(**shard, asked))
                                             : add(**shard, owner, asked, version, at_home);
                         });
}

// Answers once all transactions have.
struct Open {
  Reply<AddPartitionsToTxnResponse> reply;
  AddPartitionsToTxnResponse response;
  size_t left;

  void finish_one() {
    if (--left > 0) {
      return;
    }
    if (reply.version() < kVersionForBrokers) {
      auto results = std::exchange(response.results_by_transaction, {});
      response.results_by_topic_v3_and_below = std::move(results.front().topic_results);
    }
    reply.send(response);
  }
};

}  // namespace

void handle(RequestContext& context, AddPartitionsToTxnRequest&& request,
            Reply<AddPartitionsToTxnResponse> reply) {
  if (context.version < kVersionForBrokers) {
    request.transactions.push_back({.transactional_id = request.v3_and_below_transactional_id,
                                    .producer_id = request.v3_and_below_producer_id,
                                    .producer_epoch = request.v3_and_below_producer_epoch,
                                    .topics = std::move(request.v3_and_below_topics)});
  }
  const auto open =
      std::make_shared<Open>(Open{std::move(reply), {}, request.transactions.size() + 1});
  open->response.results_by_transaction.resize(request.transactions.size());
  for (size_t i = 0; i < request.transactions.size(); ++i) {
    ask(context.broker, request.transactions[i], context.version,
        [open, i](TransactionResult result) {
          open->response.results_by_transaction[i] = std::move(result);
          open->finish_one();
        });
  }
  open->finish_one();
}

}  // namespace klamm::broker
