#include "broker/sim/transactors.h"

#include <algorithm>

#include "broker/sim/clients.h"
#include "protocol/generated/create_topics_request.h"
#include "protocol/generated/create_topics_response.h"
#include "protocol/generated/end_txn_request.h"
#include "protocol/generated/end_txn_response.h"
#include "protocol/generated/init_producer_id_request.h"
#include "protocol/generated/init_producer_id_response.h"
#include "protocol/generated/produce_request.h"
#include "protocol/generated/txn_offset_commit_request.h"
#include "protocol/generated/txn_offset_commit_response.h"
#include "protocol/records/builder.h"

namespace klamm::broker::sim {

using namespace protocol;

namespace {

constexpr const char* kTopic = "x";
constexpr int64_t kRetryMs = 30;
constexpr uint64_t kLateMaxMs = 3'000;
constexpr int32_t kTransactionTimeoutMs = 8'000;
constexpr int8_t kGroupKey = 0;
constexpr int8_t kTransactionKey = 1;

// The producer may send the same again, and learn that all is well.
bool is_passing(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUnknownTopicOrPartition:
    case ErrorCode::kUnknownTopicId:
    case ErrorCode::kNotLeaderOrFollower:
    case ErrorCode::kNotEnoughReplicas:
    case ErrorCode::kNotEnoughReplicasAfterAppend:
    case ErrorCode::kRequestTimedOut:
    case ErrorCode::kKafkaStorageError:
    case ErrorCode::kNetworkException:
    case ErrorCode::kConcurrentTransactions:
    case ErrorCode::kCoordinatorLoadInProgress:
    case ErrorCode::kCoordinatorNotAvailable:
    case ErrorCode::kNotCoordinator: return true;
    default: return false;
  }
}

}  // namespace

Transactors::Transactors(SimCluster& cluster, size_t producers, int32_t partitions)
    : cluster_(cluster) {
  for (size_t i = 0; i < producers; ++i) {
    producers_.push_back({.id = "p" + std::to_string(i)});
  }
  for (int32_t i = 0; i < partitions; ++i) {
    readers_.push_back({.partition = i});
  }
}

bool Transactors::create() {
  if (const auto topic = topic_of(cluster_, kTopic)) {
    topic_id_ = topic->id;
    return true;
  }
  if (!std::exchange(creating_, true)) {
    CreateTopicsRequest request;
    request.timeout_ms = 5'000;
    request.topics = {{.name = kTopic,
                       .num_partitions = static_cast<int32_t>(readers_.size()),
                       .replication_factor = 3}};
    cluster_.ask<CreateTopicsResponse>(
        chance(cluster_.size()), std::move(request), kClientTimeoutMs,
        [this](const Result<CreateTopicsResponse>&) { creating_ = false; });
  }
  return false;
}

void Transactors::start() {
  for (Producer& producer : producers_) {
    begin_life(producer);
  }
  for (Reader& reader : readers_) {
    fetch(reader);
  }
}

bool Transactors::is_idle() const {
  return std::ranges::all_of(producers_, &Producer::closed) &&
         std::ranges::none_of(readers_, &Reader::fetching);
}

size_t Transactors::committed() const {
  size_t count = 0;
  for (const Producer& producer : producers_) {
    count += static_cast<size_t>(
        std::ranges::count(producer.transactions, Outcome::kCommitted, &Transaction::outcome));
  }
  return count;
}

void Transactors::later(Producer& producer, std::function<void()> work) {
  cluster_.after(kRetryMs, [&producer, life = producer.lives, work = std::move(work)] {
    if (producer.lives == life) {
      work();
    }
  });
}

void Transactors::begin_life(Producer& producer) {
  find_coordinator(cluster_, kTransactionKey, producer.id, [this, &producer](size_t node) {
    producer.coordinator = node;
    init(producer);
  });
}

void Transactors::init(Producer& producer) {
  InitProducerIdRequest request;
  request.transactional_id = producer.id;
  request.transaction_timeout_ms = kTransactionTimeoutMs;
  const bool is_last = stopping_;
  cluster_.ask<InitProducerIdResponse>(
      producer.coordinator, std::move(request), kClientTimeoutMs,
      [this, &producer, is_last](const Result<InitProducerIdResponse>& answer) {
        if (!answer || answer->error_code != ErrorCode::kNone) {
          return later(producer, [this, &producer] { begin_life(producer); });
        }
        producer.identity = {answer->producer_id, answer->producer_epoch};
        producer.sequences.clear();
        producer.closed = is_last;
        if (!is_last) {
          begin(producer);
        }
      });
}

void Transactors::begin(Producer& producer) {
  producer.transactions.emplace_back();
  producer.unsure = false;
  producer.step = 0;
  producer.plan.clear();
  for (uint64_t left = 1 + chance(5); left > 0; --left) {
    producer.plan.push_back(static_cast<int32_t>(chance(readers_.size())));
  }
  go_on(producer);
}

void Transactors::go_on(Producer& producer) {
  if (producer.step < producer.plan.size()) {
    return write(producer);
  }
  const Transaction& now = producer.transactions.back();
  if (!now.offset_acked && chance(2) == 0) {
    return commit_offset(producer);
  }
  end(producer, chance(4) != 0);
}

void Transactors::write(Producer& producer) {
  const int32_t partition = producer.plan[producer.step];
  const std::string value = producer.id + ":" + std::to_string(producer.transactions.size() - 1) +
                            ":" + std::to_string(producer.step);
  producer.transactions.back().records.try_emplace(value, Written{partition});
  BatchBuilder builder({.producer_id = producer.identity.id,
                        .producer_epoch = producer.identity.epoch,
                        .base_sequence = producer.sequences[partition],
                        .transactional = true});
  builder.add(cluster_.now_ms(), std::nullopt,
              std::span(reinterpret_cast<const uint8_t*>(value.data()), value.size()));
  ProduceRequest request;
  request.transactional_id = producer.id;
  request.acks = -1;
  request.timeout_ms = 3'000;
  request.topic_data = {
      {.topic_id = topic_id_,
       .partition_data = {{.index = partition, .records = Payload(builder.build())}}}};
  if (chance(16) == 0) {
    // The request hangs somewhere, the producer gives up, and then it arrives after all.
    cluster_.after(static_cast<int64_t>(chance(kLateMaxMs)), [this, partition, request] {
      size_t guess = chance(cluster_.size());
      cluster_.ask<ProduceResponse>(leader_of(cluster_, kTopic, partition, guess), request,
                                    kClientTimeoutMs, [](const Result<ProduceResponse>&) {});
    });
    return give_up(producer);
  }
  size_t guess = chance(cluster_.size());
  cluster_.ask<ProduceResponse>(
      leader_of(cluster_, kTopic, partition, guess), std::move(request), kClientTimeoutMs,
      [this, &producer, life = producer.lives, value](const Result<ProduceResponse>& answer) {
        if (producer.lives == life) {
          on_written(producer, value,
                     answer ? answer->responses.at(0).partition_responses.at(0).error_code
                            : ErrorCode::kNetworkException);
        }
      });
}

void Transactors::on_written(Producer& producer, const std::string& value, ErrorCode code) {
  if (is_passing(code)) {
    return later(producer, [this, &producer] { write(producer); });
  }
  unconfirmed_ += code == ErrorCode::kInvalidTxnState;
  if (code != ErrorCode::kNone) {
    return give_up(producer);
  }
  Written& written = producer.transactions.back().records.at(value);
  written.acked = true;
  ++producer.sequences[written.partition];
  ++producer.step;
  go_on(producer);
}

void Transactors::commit_offset(Producer& producer) {
  find_coordinator(
      cluster_, kGroupKey, producer.id, [this, &producer, life = producer.lives](size_t node) {
        if (producer.lives != life) {
          return;
        }
        TxnOffsetCommitRequest request;
        request.transactional_id = producer.id;
        request.group_id = producer.id;
        request.producer_id = producer.identity.id;
        request.producer_epoch = producer.identity.epoch;
        request.topics = {
            {.topic_id = topic_id_,
             .partitions = {
                 {.partition_index = 0,
                  .committed_offset = static_cast<int64_t>(producer.transactions.size()) - 1}}}};
        cluster_.ask<TxnOffsetCommitResponse>(
            node, std::move(request), kClientTimeoutMs,
            [this, &producer, life](const Result<TxnOffsetCommitResponse>& answer) {
              if (producer.lives != life) {
                return;
              }
              const ErrorCode code = answer ? answer->topics.at(0).partitions.at(0).error_code
                                            : ErrorCode::kNetworkException;
              if (is_passing(code)) {
                return later(producer, [this, &producer] { commit_offset(producer); });
              }
              if (code != ErrorCode::kNone) {
                return give_up(producer);
              }
              producer.transactions.back().offset_acked = true;
              go_on(producer);
            });
      });
}

void Transactors::end(Producer& producer, bool commits) {
  EndTxnRequest request;
  request.transactional_id = producer.id;
  request.producer_id = producer.identity.id;
  request.producer_epoch = producer.identity.epoch;
  request.committed = commits;
  cluster_.ask<EndTxnResponse>(
      producer.coordinator, std::move(request), kClientTimeoutMs,
      [this, &producer, life = producer.lives, commits](const Result<EndTxnResponse>& answer) {
        if (producer.lives != life) {
          return;
        }
        answer ? on_ended(producer, commits, answer->error_code,
                          {answer->producer_id, answer->producer_epoch})
               : on_ended(producer, commits, ErrorCode::kNetworkException, {});
      });
  producer.unsure = producer.unsure || commits;
  if (chance(40) == 0) {
    give_up(producer);
  }
}

void Transactors::on_ended(Producer& producer, bool commits, ErrorCode code,
                           ProducerIdentity next) {
  if (is_passing(code)) {
    return later(producer, [this, &producer, commits] {
      find_coordinator(cluster_, kTransactionKey, producer.id,
                       [this, &producer, life = producer.lives, commits](size_t node) {
                         if (producer.lives == life) {
                           producer.coordinator = node;
                           end(producer, commits);
                         }
                       });
    });
  }
  if (code != ErrorCode::kNone) {
    return give_up(producer);
  }
  producer.transactions.back().outcome = commits ? Outcome::kCommitted : Outcome::kAborted;
  producer.identity = next;
  producer.sequences.clear();
  if (stopping_) {
    ++producer.lives;
    return begin_life(producer);
  }
  // At once, as many producers do: the markers may still be on their way.
  chance(2) == 0 ? begin(producer) : later(producer, [this, &producer] { begin(producer); });
}

// What is open is left behind; the next life has it aborted.
void Transactors::give_up(Producer& producer) {
  producer.transactions.back().outcome = producer.unsure ? Outcome::kUnknown : Outcome::kAborted;
  ++producer.lives;
  begin_life(producer);
}

}  // namespace klamm::broker::sim
