#pragma once
// What a transaction coordinator keeps of one transactional id (KIP-98, 360, 890), and its form in
// __transaction_state.
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "broker/coordinator/runtime.h"

namespace klamm::broker {

// As the log has them.
enum class TransactionState : int8_t {
  kEmpty = 0,
  kOngoing = 1,
  kPrepareCommit = 2,
  kPrepareAbort = 3,
  kCompleteCommit = 4,
  kCompleteAbort = 5,
  kDead = 6,
  kPrepareEpochFence = 7
};
std::string_view name_of(TransactionState state);

// transaction.version (KIP-890): from 2 on each transaction has an epoch of its own, and partitions
// are added by the brokers that get their records.
inline constexpr int16_t kVersionWithEpochPerTransaction = 2;

using TransactionPlace = std::pair<std::string, int32_t>;  // topic, partition

struct Transaction {
  int64_t producer_id = -1;
  int64_t previous_producer_id = -1;
  int64_t next_producer_id = -1;  // takes over when this one has no epochs left
  int16_t epoch = -1;
  int16_t last_epoch = -1;  // before the newest; not in the log
  int32_t timeout_ms = 0;
  TransactionState state = TransactionState::kEmpty;
  std::set<TransactionPlace> partitions;
  int64_t updated_ms = -1;
  int64_t started_ms = -1;
  int16_t client_version = 0;

  bool is_ending() const {
    return state == TransactionState::kPrepareCommit || state == TransactionState::kPrepareAbort;
  }
  // The last epoch is kept for whoever must fence the producer.
  bool is_exhausted() const { return epoch >= INT16_MAX - 1; }
};

// `version`: the cluster's transaction.version.
CoordinatorRecord transaction_record(const std::string& id, const Transaction& transaction,
                                     int16_t version);
CoordinatorRecord transaction_tombstone(const std::string& id);

struct ParsedTransaction {
  std::string id;
  std::optional<Transaction> transaction;  // none: a tombstone
};
// nullopt: a type that is not known, or a record that is malformed.
std::optional<ParsedTransaction> parse_transaction_record(const CoordinatorRecord& record);

}  // namespace klamm::broker
