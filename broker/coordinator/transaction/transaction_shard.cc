#include "broker/coordinator/transaction/transaction_shard.h"

#include <algorithm>

namespace klamm::broker {

using protocol::DescribeTransactionsResponse;

namespace {

constexpr int64_t kCompleteAgainMs = 100;

// What the client is told when its change is written, or not.
TransactionShard::Identified outcome(ErrorCode error, ProducerIdentity producer) {
  return error == ErrorCode::kNone ? TransactionShard::Identified{error, producer}
                                   : TransactionShard::Identified{error, {}};
}

bool begins_new(TransactionState state) {
  return state == TransactionState::kEmpty || state == TransactionState::kCompleteAbort ||
         state == TransactionState::kCompleteCommit;
}

}  // namespace

const Transaction* TransactionShard::find(const std::string& id) const {
  const auto found = transactions_.find(id);
  return found == transactions_.end() ? nullptr : &found->second;
}

void TransactionShard::store(const std::string& id, Transaction next, Stored stored) {
  const Transaction* const before = find(id);
  next.previous_producer_id = before == nullptr ? next.producer_id : before->producer_id;
  const int16_t last_epoch = next.last_epoch;
  pending_.insert(id);
  const auto weak = std::weak_ptr(alive_);
  sink_.append({transaction_record(id, next, output_.version())},
               [this, weak, id, stored = std::move(stored)](ErrorCode error) {
                 if (!weak.expired()) {
                   pending_.erase(id);
                 }
                 stored(error);
               });
  if (const auto now = transactions_.find(id);
      now != transactions_.end() && now->second.epoch == next.epoch) {
    now->second.last_epoch = last_epoch;
  }
}

void TransactionShard::init(const Init& request, int64_t now_ms, Respond<Identified> respond) {
  const auto refuse = [&respond](ErrorCode code) { respond({code, {}}); };
  if (request.id.empty()) {
    return refuse(ErrorCode::kInvalidRequest);
  }
  if (request.two_phase_commit && !config_.two_phase_commit) {
    return refuse(ErrorCode::kTransactionalIdAuthorizationFailed);
  }
  if (request.keep_prepared) {
    return refuse(ErrorCode::kUnsupportedVersion);
  }
  if (!request.two_phase_commit &&
      (request.timeout_ms <= 0 || request.timeout_ms > config_.timeout_max_ms)) {
    return refuse(ErrorCode::kInvalidTransactionTimeout);
  }
  Init init = request;
  init.timeout_ms = request.two_phase_commit ? INT32_MAX : request.timeout_ms;
  auto shared = std::make_shared<Respond<Identified>>(std::move(respond));
  if (const Transaction* const known = find(request.id)) {
    return init_known(init, *known, now_ms, std::move(shared));
  }
  output_.new_producer_id(
      [this, weak = std::weak_ptr(alive_), init, now_ms, shared](Result<int64_t> producer_id) {
        if (weak.expired()) {
          return (*shared)({ErrorCode::kNotCoordinator, {}});
        }
        if (!producer_id) {
          return (*shared)({producer_id.error().code, {}});
        }
        const Transaction* const known = find(init.id);  // somebody may have been faster
        Transaction fresh;
        fresh.producer_id = *producer_id;
        init_known(init, known == nullptr ? fresh : *known, now_ms, shared);
      });
}

void TransactionShard::init_known(const Init& request, Transaction transaction, int64_t now_ms,
                                  std::shared_ptr<Respond<Identified>> respond) {
  const auto& expected = request.expected;
  const bool is_own =
      !expected || transaction.epoch == -1 || expected->id == transaction.producer_id ||
      (expected->id == transaction.previous_producer_id && expected->epoch >= INT16_MAX - 1);
  if (pending_.contains(request.id)) {
    return (*respond)({ErrorCode::kConcurrentTransactions, {}});
  }
  if (!is_own) {
    return (*respond)({ErrorCode::kProducerFenced, {}});
  }
  if (transaction.is_ending()) {
    return (*respond)({ErrorCode::kConcurrentTransactions, {}});
  }
  if (transaction.state != TransactionState::kOngoing) {
    return begin_again(request, std::move(transaction), now_ms, std::move(respond));
  }
  // What is open is aborted first, and the client asks again.
  prepare_end(request.id, false, output_.version(), true, now_ms, [respond](Identified ended) {
    (*respond)(
        {ended.error == ErrorCode::kNone ? ErrorCode::kConcurrentTransactions : ended.error, {}});
  });
}

// Nobody else may change the transaction until the id is there.
void TransactionShard::with_new_id(const std::string& id,
                                   std::shared_ptr<Respond<Identified>> respond,
                                   std::function<void(int64_t)> then) {
  pending_.insert(id);
  output_.new_producer_id([this, weak = std::weak_ptr(alive_), id, respond = std::move(respond),
                           then = std::move(then)](Result<int64_t> producer_id) {
    if (weak.expired()) {
      return (*respond)({ErrorCode::kNotCoordinator, {}});
    }
    pending_.erase(id);
    producer_id ? then(*producer_id) : (*respond)({producer_id.error().code, {}});
  });
}

void TransactionShard::begin_again(const Init& request, Transaction next, int64_t now_ms,
                                   std::shared_ptr<Respond<Identified>> respond) {
  const auto& expected = request.expected;
  const auto begin = [this, id = request.id, respond](Transaction empty) {
    const ProducerIdentity producer{empty.producer_id, empty.epoch};
    store(id, std::move(empty),
          [respond, producer](ErrorCode error) { (*respond)(outcome(error, producer)); });
  };
  next.state = TransactionState::kEmpty;
  next.timeout_ms = request.timeout_ms;
  next.partitions.clear();
  next.started_ms = -1;
  next.updated_ms = now_ms;
  if (next.is_exhausted() && (!expected || expected->epoch == next.epoch)) {
    next.last_epoch = expected ? next.epoch : static_cast<int16_t>(-1);
    next.epoch = 0;
    return with_new_id(request.id, std::move(respond), [begin, next](int64_t producer_id) mutable {
      next.producer_id = producer_id;
      begin(std::move(next));
    });
  }
  if (!expected) {
    next.last_epoch = -1;
    ++next.epoch;
  } else if (next.epoch == -1 || expected->epoch == next.epoch) {
    next.last_epoch = next.epoch++;
  } else if (expected->epoch != next.last_epoch) {  // else it asks again: the answer was lost
    return (*respond)({ErrorCode::kProducerFenced, {}});
  }
  begin(std::move(next));
}

void TransactionShard::add_partitions(const std::string& id, ProducerIdentity producer,
                                      const std::set<TransactionPlace>& partitions,
                                      int16_t client_version, int64_t now_ms,
                                      Respond<ErrorCode> respond) {
  const Transaction* const known = find(id);
  if (id.empty() || known == nullptr) {
    return respond(id.empty() ? ErrorCode::kInvalidRequest : ErrorCode::kInvalidProducerIdMapping);
  }
  if (pending_.contains(id)) {
    return respond(ErrorCode::kConcurrentTransactions);
  }
  if (known->producer_id != producer.id) {
    return respond(ErrorCode::kInvalidProducerIdMapping);
  }
  if (known->epoch != producer.epoch) {
    return respond(ErrorCode::kProducerFenced);
  }
  if (known->is_ending()) {
    return respond(ErrorCode::kConcurrentTransactions);
  }
  if (known->state == TransactionState::kOngoing &&
      std::ranges::includes(known->partitions, partitions)) {
    return respond(ErrorCode::kNone);
  }
  Transaction next = *known;
  next.started_ms = begins_new(next.state) ? now_ms : next.started_ms;
  next.state = TransactionState::kOngoing;
  next.partitions.insert(partitions.begin(), partitions.end());
  next.updated_ms = now_ms;
  next.client_version = client_version;
  auto shared = std::make_shared<Respond<ErrorCode>>(std::move(respond));
  store(id, std::move(next), [shared](ErrorCode error) { (*shared)(error); });
}

ErrorCode TransactionShard::verify(const std::string& id, ProducerIdentity producer,
                                   const TransactionPlace& partition) const {
  const Transaction* const known = find(id);
  if (id.empty()) {
    return ErrorCode::kInvalidRequest;
  }
  if (known == nullptr || known->producer_id != producer.id) {
    return ErrorCode::kInvalidProducerIdMapping;
  }
  if (known->epoch != producer.epoch) {
    return ErrorCode::kProducerFenced;
  }
  if (known->is_ending() || pending_.contains(id)) {
    return ErrorCode::kConcurrentTransactions;
  }
  return known->partitions.contains(partition) ? ErrorCode::kNone
                                               : ErrorCode::kTransactionAbortable;
}

void TransactionShard::end(const End& request, int64_t now_ms, Respond<Identified> respond) {
  const Transaction* const known = find(request.id);
  if (request.id.empty() || known == nullptr) {
    return respond(
        {request.id.empty() ? ErrorCode::kInvalidRequest : ErrorCode::kInvalidProducerIdMapping,
         {}});
  }
  const auto answer = request.client_version >= kVersionWithEpochPerTransaction
                          ? judge_end_v2(request, *known)
                          : judge_end_v1(request, *known);
  if (answer) {
    return respond(*answer);
  }
  prepare_end(request.id, request.commits, request.client_version, false, now_ms,
              std::move(respond));
}

// The answer, unless the transaction is to be ended now.
std::optional<TransactionShard::Identified> TransactionShard::judge_end_v1(
    const End& request, const Transaction& transaction) const {
  const auto refuse = [](ErrorCode code) { return Identified{code, {}}; };
  if (transaction.producer_id != request.producer.id) {
    return refuse(ErrorCode::kInvalidProducerIdMapping);
  }
  if (transaction.epoch != request.producer.epoch) {
    return refuse(ErrorCode::kProducerFenced);
  }
  if (pending_.contains(request.id) || transaction.is_ending()) {
    return refuse(ErrorCode::kConcurrentTransactions);
  }
  switch (transaction.state) {
    case TransactionState::kOngoing: return std::nullopt;
    case TransactionState::kCompleteCommit:
      return refuse(request.commits ? ErrorCode::kNone : ErrorCode::kInvalidTxnState);
    case TransactionState::kCompleteAbort:
      return refuse(request.commits ? ErrorCode::kInvalidTxnState : ErrorCode::kNone);
    default: return refuse(ErrorCode::kInvalidTxnState);
  }
}

// The same where each transaction has its epoch: one that has ended is told by the epoch before,
// and with the present one the client means the next, which may be aborted before it has begun.
std::optional<TransactionShard::Identified> TransactionShard::judge_end_v2(
    const End& request, const Transaction& transaction) const {
  const auto refuse = [](ErrorCode code) { return Identified{code, {}}; };
  // Markers are on their way: the client has its next epoch already, and may use it too early.
  if (pending_.contains(request.id) || transaction.is_ending()) {
    return refuse(ErrorCode::kConcurrentTransactions);
  }
  const int32_t epoch = request.producer.epoch;
  const bool repeats_over_change = transaction.previous_producer_id == request.producer.id &&
                                   epoch == INT16_MAX - 1 && transaction.epoch == 0;
  const bool repeats = transaction.epoch == epoch + 1 || repeats_over_change;
  if (transaction.producer_id != request.producer.id && !repeats_over_change) {
    return refuse(ErrorCode::kInvalidProducerIdMapping);
  }
  const bool is_complete = transaction.state == TransactionState::kCompleteCommit ||
                           transaction.state == TransactionState::kCompleteAbort;
  const bool fits = transaction.epoch == epoch || (is_complete && repeats);
  if (!fits) {
    return refuse(ErrorCode::kProducerFenced);
  }
  if (transaction.state == TransactionState::kOngoing) {
    return std::nullopt;
  }
  if (is_complete && repeats) {
    const bool same = request.commits == (transaction.state == TransactionState::kCompleteCommit);
    return same ? Identified{ErrorCode::kNone, {transaction.producer_id, transaction.epoch}}
                : refuse(ErrorCode::kInvalidTxnState);
  }
  return request.commits ? std::optional(refuse(ErrorCode::kInvalidTxnState)) : std::nullopt;
}

// `fences`: the client did not ask for it, and is not to go on under its epoch.
void TransactionShard::prepare_end(const std::string& id, bool commits, int16_t version,
                                   bool fences, int64_t now_ms, Respond<Identified> respond) {
  Transaction next = transactions_.at(id);
  const bool bumps = version >= kVersionWithEpochPerTransaction;
  auto shared = std::make_shared<Respond<Identified>>(std::move(respond));
  const auto write = [this, id, shared, bumps](Transaction ending) {
    const ProducerIdentity goes_on = !bumps ? ProducerIdentity{}
                                     : ending.next_producer_id >= 0
                                         ? ProducerIdentity{ending.next_producer_id, 0}
                                         : ProducerIdentity{ending.producer_id, ending.epoch};
    const auto weak = std::weak_ptr(alive_);
    store(id, std::move(ending), [this, weak, id, shared, goes_on](ErrorCode error) {
      (*shared)(outcome(error, goes_on));
      if (error == ErrorCode::kNone && !weak.expired()) {
        on_prepared(id);
      }
    });
  };
  next.started_ms = begins_new(next.state) ? now_ms : next.started_ms;
  next.state = commits ? TransactionState::kPrepareCommit : TransactionState::kPrepareAbort;
  next.updated_ms = now_ms;
  next.next_producer_id = -1;
  const bool needs_next_id = bumps && next.is_exhausted();
  if (bumps) {
    next.client_version = version;
    next.last_epoch = next.epoch;
    next.epoch = next.epoch == INT16_MAX ? next.epoch : static_cast<int16_t>(next.epoch + 1);
  } else {
    next.client_version = 0;
    next.epoch = fences ? static_cast<int16_t>(next.epoch + 1) : next.epoch;
    next.last_epoch = fences ? static_cast<int16_t>(-1) : next.last_epoch;
  }
  if (!needs_next_id) {
    return write(std::move(next));
  }
  with_new_id(id, std::move(shared), [write, next](int64_t producer_id) mutable {
    next.next_producer_id = producer_id;
    write(std::move(next));
  });
}

void TransactionShard::on_prepared(const std::string& id) {
  const Transaction& transaction = transactions_.at(id);
  output_.write_markers({{transaction.producer_id, transaction.epoch},
                         transaction.state == TransactionState::kPrepareCommit,
                         sink_.epoch(),
                         transaction.client_version,
                         transaction.partitions},
                        [this, weak = std::weak_ptr(alive_), id] {
                          if (!weak.expired()) {
                            complete(id);
                          }
                        });
}

void TransactionShard::complete(const std::string& id) {
  const Transaction* const known = find(id);
  if (known == nullptr || !known->is_ending() || pending_.contains(id)) {
    return;
  }
  Transaction next = *known;
  next.state = next.state == TransactionState::kPrepareCommit ? TransactionState::kCompleteCommit
                                                              : TransactionState::kCompleteAbort;
  next.partitions.clear();
  next.updated_ms = std::max(now_ms_, next.updated_ms);
  if (next.next_producer_id >= 0) {
    next.producer_id = std::exchange(next.next_producer_id, -1);
    next.epoch = 0;
  }
  to_complete_.erase(id);
  const auto weak = std::weak_ptr(alive_);
  store(id, std::move(next), [this, weak, id](ErrorCode error) {
    if (error != ErrorCode::kNone && !weak.expired()) {
      to_complete_.insert(id);
    }
  });
}

DescribeTransactionsResponse::TransactionState TransactionShard::describe(
    const std::string& id) const {
  DescribeTransactionsResponse::TransactionState out;
  out.transactional_id = id;
  const Transaction* const known = find(id);
  if (known == nullptr) {
    out.error_code = id.empty() ? ErrorCode::kInvalidRequest : ErrorCode::kTransactionalIdNotFound;
    return out;
  }
  out.transaction_state = name_of(known->state);
  out.transaction_timeout_ms = known->timeout_ms;
  out.transaction_start_time_ms = known->started_ms;
  out.producer_id = known->producer_id;
  out.producer_epoch = known->epoch;
  for (const auto& [topic, partition] : known->partitions) {
    if (out.topics.empty() || out.topics.back().topic != topic) {
      out.topics.push_back({.topic = topic});
    }
    out.topics.back().partitions.push_back(partition);
  }
  return out;
}

void TransactionShard::replay(const CoordinatorRecord& record, RecordPlace, int64_t now_ms) {
  now_ms_ = now_ms;
  auto parsed = parse_transaction_record(record);
  if (!parsed) {
    return;
  }
  if (parsed->transaction) {
    transactions_[parsed->id] = std::move(*parsed->transaction);
  } else {
    transactions_.erase(parsed->id);
  }
}

// What an earlier coordinator has begun to end is ended.
void TransactionShard::loaded(int64_t now_ms) {
  now_ms_ = now_ms;
  next_abort_check_ms_ = now_ms + config_.abort_check_ms;
  next_expiry_check_ms_ = now_ms + config_.expiry_check_ms;
  std::vector<std::string> ending;
  for (const auto& [id, transaction] : transactions_) {
    if (transaction.is_ending()) {
      ending.push_back(id);
    }
  }
  for (const std::string& id : ending) {
    on_prepared(id);
  }
}

void TransactionShard::abort_timed_out(int64_t now_ms) {
  std::vector<std::string> late;
  for (const auto& [id, transaction] : transactions_) {
    if (transaction.state == TransactionState::kOngoing && !pending_.contains(id) &&
        transaction.timeout_ms != INT32_MAX &&
        transaction.started_ms + transaction.timeout_ms < now_ms) {
      late.push_back(id);
    }
  }
  for (const std::string& id : late) {
    prepare_end(id, false, output_.version(), true, now_ms, [](Identified) {});
  }
}

void TransactionShard::expire(int64_t now_ms) {
  std::vector<CoordinatorRecord> records;
  for (const auto& [id, transaction] : transactions_) {
    if (begins_new(transaction.state) && !pending_.contains(id) &&
        transaction.updated_ms + config_.id_expiration_ms <= now_ms) {
      records.push_back(transaction_tombstone(id));
    }
  }
  if (!records.empty()) {
    sink_.append(std::move(records), [](ErrorCode) {});
  }
}

void TransactionShard::tick(int64_t now_ms) {
  now_ms_ = now_ms;
  for (const std::string& id : std::set(to_complete_)) {
    complete(id);
  }
  if (next_abort_check_ms_ <= now_ms) {
    next_abort_check_ms_ = now_ms + config_.abort_check_ms;
    abort_timed_out(now_ms);
  }
  if (next_expiry_check_ms_ <= now_ms) {
    next_expiry_check_ms_ = now_ms + config_.expiry_check_ms;
    expire(now_ms);
  }
}

std::optional<int64_t> TransactionShard::next_deadline() const {
  const int64_t due = std::min(next_abort_check_ms_, next_expiry_check_ms_);
  return to_complete_.empty() ? due : std::min(due, now_ms_ + kCompleteAgainMs);
}

}  // namespace klamm::broker
