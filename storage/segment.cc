#include "storage/segment.h"

#include <algorithm>
#include <cstdio>

#include "protocol/base/check.h"

namespace klamm::storage {

using protocol::BatchView;
using protocol::Bytes;
using protocol::kBatchHeaderSize;

namespace {

constexpr uint64_t kReserveStepMin = 64 * 1024;
constexpr uint64_t kReserveStepMax = 16 * 1024 * 1024;
constexpr size_t kScanBufferSize = 1 << 20;
constexpr int64_t kDefaultIndexInterval = 4096;  // of an index that is made anew when it is read

// Reads a file front to back through one buffer.
class ScanBuffer {
 public:
  ScanBuffer(const File& file, uint64_t end) : file_(file), end_(end) {}

  // At least `size` bytes from `position` on, or all that are left.
  Result<std::span<const uint8_t>> at(uint64_t position, size_t size) {
    const uint64_t available = end_ - std::min(end_, position);
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(size, available));
    if (position < start_ || position + wanted > start_ + held_) {
      const size_t take = static_cast<size_t>(std::min<uint64_t>(std::max(size, step_), available));
      if (buffer_.size() < take) {
        buffer_ = Bytes::allocate(take);
      }
      TRY(held_, file_.read_at(position, {buffer_.mutable_data(), take}));
      start_ = position;
      step_ = std::min(step_ * 4, kScanBufferSize);
    }
    return std::span(buffer_.data() + (position - start_),
                     std::min<size_t>(held_ - (position - start_), available));
  }

 private:
  const File& file_;
  uint64_t end_;
  Bytes buffer_;
  uint64_t start_ = 0;
  size_t held_ = 0;
  size_t step_ = 512;
};

}  // namespace

std::string file_name(int64_t base_offset, const char* suffix) {
  char name[64];
  std::snprintf(name, sizeof name, "%020lld%s", static_cast<long long>(base_offset), suffix);
  return name;
}

OpenFiles::Place OpenFiles::opened(Segment& segment) {
  if (used_.size() >= max_) {
    used_.back()->release();
  }
  used_.push_front(&segment);
  return used_.begin();
}

Result<std::unique_ptr<Segment>> Segment::open(Disk& disk, OpenFiles& open_files,
                                               const std::string& folder, int64_t base_offset,
                                               bool create) {
  std::unique_ptr<Segment> segment(new Segment(disk, open_files, folder, base_offset));
  const std::string log = segment->path(".log");
  if (create) {
    TRY(segment->file_, disk.open(log, OpenMode::kCreate));
    segment->place_ = open_files.opened(*segment);
  }
  TRY(segment->size_, disk.size_of(log));
  segment->indexed_ = segment->size_ == 0;
  return segment;
}

Segment::~Segment() {
  if (place_) {
    open_files_->closed(*place_);
  }
}

Result<> Segment::reserve(uint64_t size) {
  TRY(const auto file, this->file());
  file->reserve(size);
  reserved_ = size;
  return {};
}

void Segment::share(OpenFiles& open_files) {
  if (place_) {
    open_files_->closed(*place_);
    place_ = open_files.opened(*this);
  }
  open_files_ = &open_files;
}

Result<std::shared_ptr<File>> Segment::file() {
  if (file_ == nullptr) {
    TRY(file_, disk_.open(path(".log"), OpenMode::kReadWrite));
    place_ = open_files_->opened(*this);
  } else {
    open_files_->touch(*place_);
  }
  return file_;
}

void Segment::release() {
  if (place_) {
    open_files_->closed(*std::exchange(place_, std::nullopt));
    file_.reset();
  }
  if (stored_) {
    indexed_ = false;
    offsets_ = {};
    times_ = {};
  }
  if (aborted_ && !aborted_->empty()) {
    aborted_.reset();
  }
}

Result<uint64_t> Segment::last_indexed_position() { return indexed_position(INT64_MAX); }

Result<int64_t> Segment::max_timestamp() {
  TRY_VOID(load_indexes());
  return max_timestamp_;
}

Result<int64_t> Segment::first_timestamp() {
  if (first_timestamp_ < 0 && size_ > 0) {
    TRY(const auto first, place_at(0));
    first_timestamp_ = first ? first->max_timestamp : -1;
  }
  return first_timestamp_;
}

bool Segment::index_is_full(int64_t index_bytes_max) const {
  return static_cast<int64_t>(offsets_.size() + 1) * kOffsetEntrySize > index_bytes_max ||
         static_cast<int64_t>(times_.size() + 2) * kTimeEntrySize > index_bytes_max;
}

Result<> Segment::append(std::span<const std::span<const uint8_t>> parts, const BatchPlace& summary,
                         int64_t index_interval) {
  CHECK_INVARIANT(summary.position == size_);
  TRY_VOID(load_indexes());
  TRY(const auto file, this->file());
  stored_ = false;
  const uint64_t end = size_ + summary.size;
  if (end > reserved_) {
    const uint64_t step = std::clamp(size_ / 2, kReserveStepMin, kReserveStepMax);
    reserved_ = end + step;
    file->reserve(reserved_);
  }
  if (auto written = file->write_at(size_, parts); !written) {
    TRY_VOID(file->truncate(size_));
    reserved_ = 0;
    return written;
  }
  if (size_ == 0) {
    first_timestamp_ = summary.max_timestamp;
  }
  index_batch(summary, index_interval);
  size_ = end;
  remember(summary.last_offset + 1, size_);
  return {};
}

// As the reference does: an entry once more than an interval of bytes has come since the last one,
// so the first batch of a segment never has one.
void Segment::index_batch(const BatchPlace& place, int64_t index_interval) {
  if (place.max_timestamp > max_timestamp_) {
    max_timestamp_ = place.max_timestamp;
    max_timestamp_offset_ = place.last_offset;
  }
  if (bytes_since_entry_ > index_interval) {
    offsets_.push_back({static_cast<int32_t>(place.last_offset - base_offset_),
                        static_cast<int32_t>(place.position)});
    if (times_.empty() || max_timestamp_ > times_.back().timestamp) {
      times_.push_back(
          {max_timestamp_, static_cast<int32_t>(max_timestamp_offset_ - base_offset_)});
    }
    bytes_since_entry_ = 0;
  }
  bytes_since_entry_ += static_cast<int64_t>(place.size);
}

void Segment::remember(int64_t offset, uint64_t position) {
  hints_[next_hint_++ % hints_.size()] = {offset, position};
}

Result<std::optional<BatchPlace>> batch_at(const File& file, uint64_t position, uint64_t size) {
  if (position + kBatchHeaderSize > size) {
    return std::nullopt;
  }
  uint8_t header[kBatchHeaderSize];
  TRY(const size_t got, file.read_at(position, header));
  if (got < kBatchHeaderSize) {
    return std::nullopt;
  }
  BatchPlace place;
  place.position = position;
  place.size =
      protocol::kBatchPrefixSize + static_cast<uint64_t>(protocol::load<uint32_t>(header + 8));
  place.base_offset = protocol::load<int64_t>(header);
  place.last_offset = place.base_offset + protocol::load<int32_t>(header + 23);
  place.max_timestamp = protocol::load<int64_t>(header + 35);
  if (place.size < kBatchHeaderSize || place.position + place.size > size) {
    return fail(ErrorCode::kCorruptMessage, "a batch has an impossible length");
  }
  return place;
}

Result<std::optional<BatchPlace>> Segment::place_at(uint64_t position) {
  TRY(const auto file, this->file());
  auto place = batch_at(*file, position, size_);
  if (!place && place.error().code == ErrorCode::kCorruptMessage) {
    place.error().why += " in " + path(".log");
  }
  return place;
}

// What is read where an entry leads must look like a batch that begins within the segment and does
// not end behind the entry. The offset is that of the last record up to which the entry was made,
// and some writers make one for several batches.
bool Segment::leads_to_batch(const OffsetEntry& entry) {
  const int64_t last = base_offset_ + entry.relative_offset;
  const auto place = place_at(static_cast<uint64_t>(entry.position));
  return place && *place && (*place)->base_offset >= base_offset_ &&
         (*place)->base_offset <= (*place)->last_offset && (*place)->last_offset <= last;
}

Result<uint64_t> Segment::indexed_position(int64_t offset) {
  TRY_VOID(load_indexes());
  const OffsetEntry* entry = floor_entry(offsets_, offset - base_offset_);
  if (entry != nullptr && !leads_to_batch(*entry)) {
    TRY_VOID(truncate_and_reindex(size_, kDefaultIndexInterval));
    entry = floor_entry(offsets_, offset - base_offset_);
  }
  return entry == nullptr ? 0 : static_cast<uint64_t>(entry->position);
}

Result<std::optional<BatchPlace>> Segment::find(int64_t offset) {
  uint64_t position = 0;
  const auto hint =
      std::find_if(hints_.begin(), hints_.end(), [&](const Hint& h) { return h.offset == offset; });
  if (hint != hints_.end()) {
    position = hint->position;
  } else {
    TRY(position, indexed_position(offset));
  }
  while (true) {
    TRY(const auto place, place_at(position));
    if (!place || place->last_offset >= offset) {
      return place;
    }
    position += place->size;
  }
}

Result<std::optional<BatchPlace>> Segment::find_time(int64_t timestamp) {
  TRY_VOID(load_indexes());
  if (max_timestamp_ < timestamp) {
    return std::nullopt;
  }
  TRY(auto place, find(base_offset_ + floor_offset(times_, timestamp)));
  while (place && place->max_timestamp < timestamp) {
    TRY(place, place_at(place->position + place->size));
  }
  return place;
}

Result<uint64_t> Segment::scan(uint64_t position, bool whole, const Visitor& visit) {
  TRY(const auto file, this->file());
  ScanBuffer buffer(*file, size_);
  while (position < size_) {
    TRY(auto bytes, buffer.at(position, kBatchHeaderSize));
    if (bytes.size() < kBatchHeaderSize) {
      break;
    }
    const uint64_t size = protocol::kBatchPrefixSize +
                          static_cast<uint64_t>(protocol::load<uint32_t>(bytes.data() + 8));
    if (size < kBatchHeaderSize || size > size_ - position) {
      break;
    }
    if (whole) {
      TRY(bytes, buffer.at(position, static_cast<size_t>(size)));
    }
    // A view over the header alone is never asked for its body.
    const auto batch = whole ? BatchView::parse(bytes)
                             : BatchView::parse({bytes.data(), static_cast<size_t>(size)});
    if (!batch || (whole && !batch->crc_matches())) {
      break;
    }
    const BatchPlace place{position, size, batch->base_offset(), batch->last_offset(),
                           batch->max_timestamp()};
    if (!visit(place, *batch)) {
      break;
    }
    position += size;
  }
  return position;
}

Result<Bytes> Segment::read(const BatchPlace& place) {
  Bytes bytes = Bytes::allocate(place.size);
  TRY(const auto file, this->file());
  TRY(const size_t got, file->read_at(place.position, {bytes.mutable_data(), bytes.size()}));
  if (got != place.size) {
    return fail(ErrorCode::kCorruptMessage, "a batch is cut off");
  }
  return bytes;
}

Result<> Segment::load_indexes() {
  if (indexed_) {
    return {};
  }
  indexed_ = true;
  auto offsets = load_offset_index(disk_, path(".index"), size_);
  auto times = load_time_index(disk_, path(".timeindex"));
  // An index that claims nothing for a segment with data may be one that was never written.
  if (!offsets || !times || times->empty()) {
    return truncate_and_reindex(size_, kDefaultIndexInterval);
  }
  offsets_ = std::move(*offsets);
  times_ = std::move(*times);
  max_timestamp_ = times_.back().timestamp;
  max_timestamp_offset_ = base_offset_ + times_.back().relative_offset;
  bytes_since_entry_ =
      static_cast<int64_t>(size_) - (offsets_.empty() ? 0 : offsets_.back().position);
  stored_ = true;
  return {};
}

void Segment::forget_indexes() {
  indexed_ = true;
  stored_ = false;
  offsets_.clear();
  times_.clear();
  hints_ = {};
  bytes_since_entry_ = 0;
  max_timestamp_ = max_timestamp_offset_ = first_timestamp_ = -1;
}

Result<> Segment::cut(uint64_t size) {
  if (size < size_) {
    TRY(const auto file, this->file());
    TRY_VOID(file->truncate(size));
    size_ = size;
    reserved_ = 0;
  }
  return {};
}

// Both indexes from what the file holds, up to the first batch that `accept` refuses. Returns where
// that is.
Result<uint64_t> Segment::reindex(bool whole, int64_t index_interval, const Visitor& accept) {
  forget_indexes();
  return scan(0, whole, [&](const BatchPlace& place, const BatchView& batch) {
    const bool accepted = accept(place, batch);
    if (accepted) {
      index_batch(place, index_interval);
    }
    return accepted;
  });
}

Result<> Segment::truncate_and_reindex(uint64_t size, int64_t index_interval) {
  TRY_VOID(cut(size));
  TRY(const uint64_t end,
      reindex(false, index_interval, [](const BatchPlace&, const BatchView&) { return true; }));
  (void)end;
  return {};
}

Result<bool> Segment::verify_and_reindex(int64_t index_interval, const Visitor& accept) {
  TRY(const uint64_t end, reindex(true, index_interval, accept));
  const bool sound = end == size_;
  TRY_VOID(cut(end));
  return sound;
}

Result<std::optional<int64_t>> Segment::offset_behind(uint64_t position) {
  TRY_VOID(load_indexes());
  const auto next = std::lower_bound(offsets_.begin(), offsets_.end(), position,
                                     [](const OffsetEntry& entry, uint64_t wanted) {
                                       return static_cast<uint64_t>(entry.position) < wanted;
                                     });
  return next == offsets_.end() ? std::nullopt
                                : std::optional(base_offset_ + next->relative_offset);
}

Result<const TxnIndex*> Segment::aborted() {
  if (!aborted_) {
    TRY(aborted_, load_txn_index(disk_, path(".txnindex"), base_offset_));
  }
  return &*aborted_;
}

Result<> Segment::add_aborted(const AbortedTxn& txn) {
  TRY_VOID(aborted());
  aborted_->push_back(txn);
  if (auto written = append_txn_index(disk_, path(".txnindex"), *aborted_); !written) {
    aborted_->pop_back();
    return written;
  }
  return {};
}

Result<> Segment::truncate_aborted(int64_t offset) {
  const auto known = aborted();
  if (!known) {
    aborted_.emplace();  // damaged; the caller goes through the whole segment
    return store_txn_index(disk_, path(".txnindex"), *aborted_);
  }
  const size_t removed =
      std::erase_if(*aborted_, [&](const AbortedTxn& txn) { return txn.last_offset >= offset; });
  return removed == 0 ? Result<>() : cut_txn_index(disk_, path(".txnindex"), *aborted_);
}

Result<> Segment::seal() {
  TRY_VOID(load_indexes());
  // The last entry of the time index tells the segment's largest timestamp.
  if (max_timestamp_ >= 0 && (times_.empty() || times_.back().timestamp < max_timestamp_)) {
    times_.push_back({max_timestamp_, static_cast<int32_t>(max_timestamp_offset_ - base_offset_)});
  }
  TRY_VOID(store_offset_index(disk_, path(".index"), offsets_));
  TRY_VOID(store_time_index(disk_, path(".timeindex"), times_));
  stored_ = true;
  if (reserved_ > 0) {
    TRY(const auto file, this->file());
    TRY_VOID(file->truncate(size_));
    reserved_ = 0;
  }
  return {};
}

Result<std::vector<std::shared_ptr<File>>> Segment::files() {
  std::vector<std::shared_ptr<File>> files;
  TRY(files.emplace_back(), file());
  std::vector<const char*> suffixes;
  if (stored_) {
    suffixes = {".index", ".timeindex"};
  }
  TRY(const TxnIndex* known, aborted());
  if (!known->empty()) {
    suffixes.push_back(".txnindex");
  }
  for (const char* suffix : suffixes) {
    TRY(files.emplace_back(), disk_.open(path(suffix), OpenMode::kReadWrite));
  }
  return files;
}

Result<std::vector<std::string>> Segment::mark_deleted() {
  std::vector<std::string> paths;
  for (const char* suffix : kSegmentSuffixes) {
    const std::string from = path(suffix);
    if (disk_.exists(from)) {
      TRY_VOID(disk_.rename(from, from + ".deleted"));
      paths.push_back(from + ".deleted");
    }
  }
  return paths;
}

}  // namespace klamm::storage
