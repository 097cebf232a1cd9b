#include "broker/cluster/transaction_verifier.h"

#include <algorithm>

#include "broker/broker.h"
#include "broker/cluster/broker_address.h"
#include "protocol/generated/add_partitions_to_txn_request.h"
#include "protocol/generated/add_partitions_to_txn_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int16_t kVersionForBrokers = 4;

AddPartitionsToTxnRequest to_request(const TransactionToVerify& transaction,
                                     const std::vector<TransactionPlace>& places) {
  AddPartitionsToTxnRequest request;
  auto& asked = request.transactions.emplace_back();
  asked.transactional_id = transaction.id;
  asked.producer_id = transaction.producer.id;
  asked.producer_epoch = transaction.producer.epoch;
  asked.verify_only = !transaction.adds;
  for (const auto& [topic, partition] : places) {
    if (asked.topics.empty() || asked.topics.back().name != topic) {
      asked.topics.push_back({.name = topic});
    }
    asked.topics.back().partitions.push_back(partition);
  }
  return request;
}

}  // namespace

ErrorCode told_to_producer(ErrorCode verdict, bool knows_abortable, bool adds,
                           ErrorCode unreachable) {
  switch (verdict) {
    case ErrorCode::kProducerFenced: return ErrorCode::kInvalidProducerEpoch;
    case ErrorCode::kTransactionAbortable:
      return knows_abortable ? verdict : ErrorCode::kInvalidTxnState;
    case ErrorCode::kConcurrentTransactions: return adds ? verdict : unreachable;
    case ErrorCode::kNetworkException:
    case ErrorCode::kCoordinatorLoadInProgress:
    case ErrorCode::kCoordinatorNotAvailable:
    case ErrorCode::kNotCoordinator: return unreachable;
    default: return verdict;
  }
}

bool TransactionVerifier::is_waiting(const TransactionToVerify& transaction,
                                     const TransactionPlace& place) const {
  const auto found = open_.find(transaction);
  return found != open_.end() &&
         (found->second.asked.contains(place) || found->second.next.contains(place));
}

void TransactionVerifier::ask(const TransactionToVerify& transaction, const TransactionPlace& place,
                              Done done) {
  Open& open = open_[transaction];
  const bool is_asked = open.asked.contains(place);
  (is_asked ? open.asked : open.next)[place].push_back(std::move(done));
  if (open.asked.empty()) {
    open.asked = std::exchange(open.next, {});
    open.asked_ms = broker_.clock().monotonic_ms();
    send(transaction);
  }
}

void TransactionVerifier::send(const TransactionToVerify& transaction) {
  std::vector<TransactionPlace> places;
  for (const auto& [place, waiting] : open_.at(transaction).asked) {
    places.push_back(place);
  }
  const auto topic = broker_.image()->topic(kTransactionsTopic);
  const auto partition = TransactionCoordinator::partition_of(transaction.id, topic.get());
  if (!partition) {
    return refuse(transaction, partition.error().code);
  }
  const int32_t leader = topic->partitions.at(*partition).leader;
  leader == broker_.config().node_id() ? send_here(transaction, std::move(places))
                                       : send_there(transaction, places, leader);
}

void TransactionVerifier::send_here(const TransactionToVerify& transaction,
                                    std::vector<TransactionPlace> places) {
  const auto home = [this, home = broker_.shard(), transaction](Broker& owner, Verdicts verdicts) {
    owner.at(home, [this, transaction, verdicts = std::move(verdicts)](Broker&) {
      settle(transaction, verdicts);
    });
  };
  broker_.with_transactions(transaction.id, [transaction, places = std::move(places), home](
                                                Result<TransactionShard*> shard, Broker& owner) {
    const auto answer_all = [&owner, places, home](ErrorCode code) {
      Verdicts verdicts;
      for (const TransactionPlace& place : places) {
        verdicts[place] = code;
      }
      home(owner, std::move(verdicts));
    };
    if (!shard) {
      return answer_all(shard.error().code);
    }
    if (transaction.adds) {
      return (*shard)->add_partitions(
          transaction.id, transaction.producer, {places.begin(), places.end()},
          kVersionWithEpochPerTransaction, owner.clock().wall_ms(), answer_all);
    }
    Verdicts verdicts;
    for (const TransactionPlace& place : places) {
      verdicts[place] = (*shard)->verify(transaction.id, transaction.producer, place);
    }
    home(owner, std::move(verdicts));
  });
}

void TransactionVerifier::send_there(const TransactionToVerify& transaction,
                                     const std::vector<TransactionPlace>& places,
                                     int32_t coordinator) {
  const auto to =
      address_of(*broker_.image(), coordinator, broker_.config().inter_broker_listener());
  if (!to) {
    return refuse(transaction, ErrorCode::kCoordinatorNotAvailable);
  }
  replication::call<AddPartitionsToTxnResponse>(
      broker_.transport(), *to, to_request(transaction, places),
      broker_.config().number("request.timeout.ms"),
      [this, transaction](const Result<AddPartitionsToTxnResponse>& answer) {
        if (!answer) {
          // A broker that is too old to be asked lets everything pass.
          return refuse(transaction, answer.error().code == ErrorCode::kUnsupportedVersion
                                         ? ErrorCode::kNone
                                         : ErrorCode::kNetworkException);
        }
        if (answer->error_code != ErrorCode::kNone) {
          return refuse(transaction, answer->error_code);
        }
        Verdicts verdicts;
        for (const auto& result : answer->results_by_transaction) {
          for (const auto& topic : result.topic_results) {
            for (const auto& partition : topic.results_by_partition) {
              verdicts[{topic.name, partition.partition_index}] = partition.partition_error_code;
            }
          }
        }
        settle(transaction, verdicts);
      },
      kVersionForBrokers);
}

// The same for all that was asked.
void TransactionVerifier::refuse(const TransactionToVerify& transaction, ErrorCode code) {
  Verdicts verdicts;
  for (const auto& [place, waiting] : open_.at(transaction).asked) {
    verdicts[place] = code;
  }
  settle(transaction, verdicts);
}

void TransactionVerifier::send_again(const TransactionToVerify& transaction) {
  broker_.timers().after(broker_.clock(),
                         broker_.config().number("add.partitions.to.txn.retry.backoff.ms"),
                         [this, transaction] { send(transaction); });
}

void TransactionVerifier::settle(const TransactionToVerify& transaction, const Verdicts& verdicts) {
  Open& open = open_.at(transaction);
  const auto is_busy = [](const auto& verdict) {
    return verdict.second == ErrorCode::kConcurrentTransactions;
  };
  // The transaction before is about to end; the producer would only come back with its records.
  const int64_t patience = broker_.config().number("add.partitions.to.txn.retry.backoff.max.ms");
  if (transaction.adds && std::ranges::any_of(verdicts, is_busy) &&
      broker_.clock().monotonic_ms() - open.asked_ms < patience) {
    return send_again(transaction);
  }
  Waiting asked = std::exchange(open.asked, std::exchange(open.next, {}));
  const bool goes_on = !open.asked.empty();
  if (goes_on) {
    open.asked_ms = broker_.clock().monotonic_ms();
  } else {
    open_.erase(transaction);
  }
  for (auto& [place, waiting] : asked) {
    const auto found = verdicts.find(place);
    const ErrorCode code = found == verdicts.end() ? ErrorCode::kNetworkException : found->second;
    for (Done& done : waiting) {
      done(code);
    }
  }
  if (goes_on) {
    send(transaction);
  }
}

}  // namespace klamm::broker
