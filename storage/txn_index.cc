#include "storage/txn_index.h"

#include "protocol/base/endian.h"

namespace klamm::storage {

using protocol::load;
using protocol::store;

namespace {

constexpr int16_t kVersion = 0;

void store_entry(uint8_t* at, const AbortedTxn& entry) {
  store(at, kVersion);
  store(at + 2, entry.producer_id);
  store(at + 10, entry.first_offset);
  store(at + 18, entry.last_offset);
  store(at + 26, entry.last_stable_offset);
}

}  // namespace

Result<TxnIndex> load_txn_index(Disk& disk, const std::string& path, int64_t base_offset) {
  TxnIndex index;
  if (!disk.exists(path)) {
    return index;
  }
  TRY(const std::string content, disk.read_file(path));
  const auto corrupt = fail(ErrorCode::kCorruptMessage, "the index " + path + " is damaged");
  if (content.size() % kAbortedTxnSize != 0) {
    return corrupt;
  }
  const auto* at = reinterpret_cast<const uint8_t*>(content.data());
  for (size_t i = 0; i < content.size(); i += kAbortedTxnSize, at += kAbortedTxnSize) {
    const AbortedTxn entry{load<int64_t>(at + 2), load<int64_t>(at + 10), load<int64_t>(at + 18),
                           load<int64_t>(at + 26)};
    if (load<int16_t>(at) != kVersion || entry.last_offset < base_offset ||
        entry.first_offset > entry.last_offset ||
        (!index.empty() && entry.last_offset <= index.back().last_offset)) {
      return corrupt;
    }
    index.push_back(entry);
  }
  return index;
}

Result<> append_txn_index(Disk& disk, const std::string& path, const TxnIndex& index) {
  uint8_t entry[kAbortedTxnSize];
  store_entry(entry, index.back());
  TRY(const auto file, disk.open(path, OpenMode::kCreate));
  return file->write_at((index.size() - 1) * kAbortedTxnSize, entry);
}

Result<> store_txn_index(Disk& disk, const std::string& path, const TxnIndex& index) {
  std::vector<uint8_t> content(index.size() * kAbortedTxnSize);
  for (size_t i = 0; i < index.size(); ++i) {
    store_entry(content.data() + i * kAbortedTxnSize, index[i]);
  }
  TRY(const auto file, disk.open(path, OpenMode::kCreateTruncated));
  TRY_VOID(file->write_at(0, content));
  return file->sync();
}

Result<> cut_txn_index(Disk& disk, const std::string& path, const TxnIndex& index) {
  TRY(const auto file, disk.open(path, OpenMode::kReadWrite));
  TRY_VOID(file->truncate(index.size() * kAbortedTxnSize));
  return file->sync();
}

bool collect_aborted(const TxnIndex& index, int64_t from, int64_t to, TxnIndex& found) {
  for (const AbortedTxn& entry : index) {
    if (entry.last_offset >= from && entry.first_offset < to) {
      found.push_back(entry);
    }
    if (entry.last_stable_offset >= to) {
      return true;
    }
  }
  return false;
}

}  // namespace klamm::storage
