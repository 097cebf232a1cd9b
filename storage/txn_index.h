#pragma once
// The aborted transactions whose markers stand in one segment: the file `.txnindex` (FORMAT.md). A
// reader of committed records is told of those that overlap what it fetches.
#include <cstdint>
#include <string>
#include <vector>

#include "protocol/base/result.h"
#include "storage/env/disk.h"

namespace klamm::storage {

struct AbortedTxn {
  int64_t producer_id;
  int64_t first_offset;        // of the transaction's first batch
  int64_t last_offset;         // of its marker
  int64_t last_stable_offset;  // what was stable behind the marker
  bool operator==(const AbortedTxn&) const = default;
};
inline constexpr int64_t kAbortedTxnSize = 34;

// In the order of their markers.
using TxnIndex = std::vector<AbortedTxn>;

// Empty when there is no file. CORRUPT_MESSAGE when entries have an unknown version, do not rise,
// lie below `base_offset` or do not fill the file.
Result<TxnIndex> load_txn_index(Disk& disk, const std::string& path, int64_t base_offset);
// Writes the last entry of `index` where it belongs in the file, creating it for the first.
Result<> append_txn_index(Disk& disk, const std::string& path, const TxnIndex& index);
// Takes what is behind the entries of `index` away from a file that has them and more; needs no
// room on the disk.
Result<> cut_txn_index(Disk& disk, const std::string& path, const TxnIndex& index);
Result<> store_txn_index(Disk& disk, const std::string& path, const TxnIndex& index);

// Adds to `found` the entries that overlap [from, to). True when no later entry can.
bool collect_aborted(const TxnIndex& index, int64_t from, int64_t to, TxnIndex& found);

}  // namespace klamm::storage
