#include "broker/coordinator/transaction/transaction.h"

#include "broker/coordinator/record_codec.h"
#include "protocol/generated/transaction_log_key.h"
#include "protocol/generated/transaction_log_value.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int16_t kKeyType = 0;
constexpr int8_t kStateMax = 7;

}  // namespace

std::string_view name_of(TransactionState state) {
  switch (state) {
    case TransactionState::kEmpty: return "Empty";
    case TransactionState::kOngoing: return "Ongoing";
    case TransactionState::kPrepareCommit: return "PrepareCommit";
    case TransactionState::kPrepareAbort: return "PrepareAbort";
    case TransactionState::kCompleteCommit: return "CompleteCommit";
    case TransactionState::kCompleteAbort: return "CompleteAbort";
    case TransactionState::kDead: return "Dead";
    case TransactionState::kPrepareEpochFence: return "PrepareEpochFence";
  }
  return "Unknown";
}

CoordinatorRecord transaction_record(const std::string& id, const Transaction& transaction,
                                     int16_t version) {
  TransactionLogValue value;
  value.producer_id = transaction.producer_id;
  value.previous_producer_id = transaction.previous_producer_id;
  value.next_producer_id = transaction.next_producer_id;
  value.producer_epoch = transaction.epoch;
  value.transaction_timeout_ms = transaction.timeout_ms;
  value.transaction_status = static_cast<int8_t>(transaction.state);
  value.transaction_partitions.reset();
  if (transaction.state != TransactionState::kEmpty) {
    auto& topics = value.transaction_partitions.emplace();
    for (const auto& [topic, partition] : transaction.partitions) {
      if (topics.empty() || topics.back().topic != topic) {
        topics.push_back({.topic = topic});
      }
      topics.back().partition_ids.push_back(partition);
    }
  }
  value.transaction_last_update_timestamp_ms = transaction.updated_ms;
  value.transaction_start_timestamp_ms = transaction.started_ms;
  value.client_transaction_version = transaction.client_version;
  const auto value_version = static_cast<int16_t>(version > 0 ? 1 : 0);
  return {transaction_tombstone(id).key, prefixed(value_version, value, value_version)};
}

CoordinatorRecord transaction_tombstone(const std::string& id) {
  TransactionLogKey key;
  key.transactional_id = id;
  return {prefixed(kKeyType, key, 0), std::nullopt};
}

std::optional<ParsedTransaction> parse_transaction_record(const CoordinatorRecord& record) {
  Reader in(record.key);
  const auto type = in.fixed<int16_t>();
  auto key = type == kKeyType ? read_message<TransactionLogKey>(in, 0) : std::nullopt;
  std::optional<TransactionLogValue> value;
  if (!key || !read_value(record, value) ||
      (value && (value->transaction_status < 0 || value->transaction_status > kStateMax))) {
    return std::nullopt;
  }
  ParsedTransaction parsed{std::move(key->transactional_id), std::nullopt};
  if (value) {
    auto& out = parsed.transaction.emplace();
    out.producer_id = value->producer_id;
    out.previous_producer_id = value->previous_producer_id;
    out.next_producer_id = value->next_producer_id;
    out.epoch = value->producer_epoch;
    out.timeout_ms = value->transaction_timeout_ms;
    out.state = static_cast<TransactionState>(value->transaction_status);
    if (value->transaction_partitions) {
      for (const auto& topic : *value->transaction_partitions) {
        for (const int32_t partition : topic.partition_ids) {
          out.partitions.insert({topic.topic, partition});
        }
      }
    }
    out.updated_ms = value->transaction_last_update_timestamp_ms;
    out.started_ms = value->transaction_start_timestamp_ms;
    out.client_version = value->client_transaction_version;
  }
  return parsed;
}

}  // namespace klamm::broker
