#include "storage/cleaned_transactions.h"

#include "storage/producer_state.h"

namespace klamm::storage {

using protocol::BatchView;

void CleanedTransactions::add(const TxnIndex& aborted) {
  for (const AbortedTxn& txn : aborted) {
    ahead_.emplace(txn.first_offset, txn);
  }
}

void CleanedTransactions::begin_up_to(int64_t offset) {
  while (!ahead_.empty() && ahead_.begin()->first <= offset) {
    const AbortedTxn& txn = ahead_.begin()->second;
    aborted_.try_emplace(txn.producer_id, Ongoing{txn});
    ahead_.erase(ahead_.begin());
  }
}

bool CleanedTransactions::read_data(const BatchView& batch) {
  begin_up_to(batch.last_offset());
  if (!batch.is_transactional()) {
    return false;
  }
  const auto aborted = aborted_.find(batch.producer_id());
  if (aborted == aborted_.end()) {
    committed_.insert(batch.producer_id());
    return false;
  }
  aborted->second.seen = true;
  return true;
}

bool CleanedTransactions::read_control(const BatchView& batch, TxnIndex& kept) {
  begin_up_to(batch.last_offset());
  if (batch.count() == 0) {
    return true;  // emptied before
  }
  const auto marker = read_end_marker(batch);
  if (!marker) {
    return false;
  }
  if (!marker->aborts) {
    return committed_.erase(batch.producer_id()) == 0;
  }
  const auto aborted = aborted_.extract(batch.producer_id());
  if (aborted.empty() || !aborted.mapped().seen) {
    return true;
  }
  kept.push_back(aborted.mapped().txn);
  return false;
}

}  // namespace klamm::storage
