#pragma once
// What compaction must know of transactions while it goes through a log front to back: which
// batches were aborted and may go, and which markers nobody needs any more, because nothing of
// their transaction is left (KIP-98).
#include <map>
#include <set>

#include "protocol/records/batch.h"
#include "storage/txn_index.h"

namespace klamm::storage {

class CleanedTransactions {
 public:
  // Transactions that were aborted, in what is read from now on.
  void add(const TxnIndex& aborted);
  // A batch of data. True when it was aborted.
  bool read_data(const protocol::BatchView& batch);
  // A control batch. True when nothing of its transaction was seen. The transaction that a marker
  // goes on aborting is added to `kept`.
  bool read_control(const protocol::BatchView& batch, TxnIndex& kept);

 private:
  struct Ongoing {
    AbortedTxn txn;
    bool seen = false;  // a batch of it
  };
  void begin_up_to(int64_t offset);

  std::multimap<int64_t, AbortedTxn> ahead_;  // by first offset
  std::map<int64_t, Ongoing> aborted_;        // by producer
  std::set<int64_t> committed_;               // producers
};

}  // namespace klamm::storage
