#pragma once
// One segment of a log: the file of batches, its two sparse indexes (index.h) and its aborted
// transactions (txn_index.h). Owned and called by one Log. The file is opened when it is needed and
// closed when OpenFiles says so.
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "protocol/base/bytes.h"
#include "protocol/records/batch.h"
#include "storage/env/disk.h"
#include "storage/index.h"
#include "storage/open_files.h"
#include "storage/txn_index.h"

namespace klamm::storage {

// The 20-digit name that a file of this base offset has, with the suffix (".log", ".index", ...).
std::string file_name(int64_t base_offset, const char* suffix);

// Of the files that belong to one segment.
inline constexpr const char* kSegmentSuffixes[] = {".log", ".index", ".timeindex", ".txnindex",
                                                   ".snapshot"};

// Where a batch stands in its segment and what its header says.
struct BatchPlace {
  uint64_t position = 0;
  uint64_t size = 0;
  int64_t base_offset = 0;
  int64_t last_offset = 0;
  int64_t max_timestamp = -1;
};

// The batch whose header stands at `position` of a file of `size` bytes; nullopt when no header
// fits. CORRUPT_MESSAGE when its length is impossible.
Result<std::optional<BatchPlace>> batch_at(const File& file, uint64_t position, uint64_t size);

class Segment {
 public:
  // Finds the segment's file, or creates it.
  // `folder` is the log's own, which outlives its segments.
  static Result<std::unique_ptr<Segment>> open(Disk& disk, OpenFiles& open_files,
                                               const std::string& folder, int64_t base_offset,
                                               bool create);
  ~Segment();

  int64_t base_offset() const { return base_offset_; }
  uint64_t size() const { return size_; }
  // The open file; good for as long as it is held.
  Result<std::shared_ptr<File>> file();
  const std::string& folder() const { return folder_; }
  // Largest timestamp of all records, -1 for none.
  Result<int64_t> max_timestamp();
  // Timestamp of the first batch, -1 for an empty segment; what segment.ms counts from.
  Result<int64_t> first_timestamp();
  bool index_is_full(int64_t index_bytes_max) const;

  // Appends batches that are final (offsets, epoch, checksum). On error the file is cut back to
  // what it was.
  Result<> append(std::span<const std::span<const uint8_t>> parts, const BatchPlace& summary,
                  int64_t index_interval);
  // The place of the first batch whose last offset is >= `offset`; nullopt when there is none.
  Result<std::optional<BatchPlace>> find(int64_t offset);
  // The place of the first batch whose largest timestamp is >= `timestamp`.
  Result<std::optional<BatchPlace>> find_time(int64_t timestamp);
  // The offset of the first index entry at or behind `position`; nullopt when there is none.
  Result<std::optional<int64_t>> offset_behind(uint64_t position);
  // Calls `visit` for each batch from `position` on until it returns false. With `whole` the
  // batch's bytes are read and its checksum verified, else only its header. Returns the position
  // behind the last sound batch.
  using Visitor = std::function<bool(const BatchPlace&, const protocol::BatchView&)>;
  Result<uint64_t> scan(uint64_t position, bool whole, const Visitor& visit);
  // The position of the last batch that the offset index knows, 0 for none.
  Result<uint64_t> last_indexed_position();
  // The bytes of one batch.
  Result<protocol::Bytes> read(const BatchPlace& place);

  // Cuts the file to `size` and rebuilds both indexes from what is left.
  Result<> truncate_and_reindex(uint64_t size, int64_t index_interval);
  // Verifies every batch, rebuilds both indexes on the way and cuts the file at the first batch
  // that is not sound or that `accept` refuses. True when nothing was cut.
  Result<bool> verify_and_reindex(int64_t index_interval, const Visitor& accept);
  // The aborted transactions whose markers stand here. CORRUPT_MESSAGE when the index is damaged.
  Result<const TxnIndex*> aborted();
  Result<> add_aborted(const AbortedTxn& txn);
  // Forgets those whose markers stand at or above `offset`.
  Result<> truncate_aborted(int64_t offset);
  // Remembers that reading may start at `position` for `offset` (the start of a batch).
  void remember(int64_t offset, uint64_t position);
  // Writes the indexes and releases reserved space; the segment is not appended to any more. They
  // are not synced yet.
  Result<> seal();
  // The files that a sync must bring to the medium.
  Result<std::vector<std::shared_ptr<File>>> files();
  void share(OpenFiles& open_files);
  // Takes disk space for as many bytes ahead.
  Result<> reserve(uint64_t size);
  // Gives up the file and whatever else can be read again.
  void release();
  // Renames all files to *.deleted and returns their new paths.
  Result<std::vector<std::string>> mark_deleted();

 private:
  Segment(Disk& disk, OpenFiles& open_files, const std::string& folder, int64_t base_offset)
      : disk_(disk), open_files_(&open_files), folder_(folder), base_offset_(base_offset) {}
  std::string path(const char* suffix) const {
    return folder_ + "/" + file_name(base_offset_, suffix);
  }
  Result<> load_indexes();
  void forget_indexes();
  Result<> cut(uint64_t size);
  Result<uint64_t> reindex(bool whole, int64_t index_interval, const Visitor& accept);
  void index_batch(const BatchPlace& place, int64_t index_interval);
  Result<std::optional<BatchPlace>> place_at(uint64_t position);
  Result<uint64_t> indexed_position(int64_t offset);
  bool leads_to_batch(const OffsetEntry& entry);

  Disk& disk_;
  OpenFiles* open_files_;
  const std::string& folder_;
  int64_t base_offset_;
  std::shared_ptr<File> file_;
  std::optional<OpenFiles::Place> place_;
  uint64_t size_ = 0;
  uint64_t reserved_ = 0;
  bool indexed_ = false;
  bool stored_ = false;  // the indexes on disk are those in memory
  std::optional<TxnIndex> aborted_;
  OffsetIndex offsets_;
  TimeIndex times_;
  int64_t bytes_since_entry_ = 0;
  int64_t max_timestamp_ = -1;
  int64_t max_timestamp_offset_ = -1;
  int64_t first_timestamp_ = -1;
  // Starts of batches that a reader will probably ask for next.
  struct Hint {
    int64_t offset = -1;
    uint64_t position = 0;
  };
  std::array<Hint, 4> hints_;
  size_t next_hint_ = 0;
};

}  // namespace klamm::storage
