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

Result<std::unique_ptr<Segment>> Segment::open(Disk& disk, std::string folder, int64_t base_offset,
                                               bool create) {
  std::unique_ptr<Segment> segment(new Segment(disk, std::move(folder), base_offset));
  TRY(segment->file_,
      disk.open(segment->path(".log"), create ? OpenMode::kCreate : OpenMode::kReadWrite));
  TRY(segment->size_, segment->file_->size());
  segment->indexed_ = segment->size_ == 0;
  return segment;
}

Result<uint64_t> Segment::last_indexed_position() {
  TRY_VOID(load_indexes());
  return offsets_.empty() ? 0 : static_cast<uint64_t>(offsets_.back().position);
}

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
  const uint64_t end = size_ + summary.size;
  if (end > reserved_) {
    const uint64_t step = std::clamp(size_ / 2, kReserveStepMin, kReserveStepMax);
    reserved_ = end + step;
    file_->reserve(reserved_);
  }
  if (auto written = file_->write_at(size_, parts); !written) {
    (void)file_->truncate(size_);
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

Result<std::optional<BatchPlace>> Segment::place_at(uint64_t position) {
  if (position + kBatchHeaderSize > size_) {
    return std::nullopt;
  }
  uint8_t header[kBatchHeaderSize];
  TRY(const size_t got, file_->read_at(position, header));
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
  if (place.size < kBatchHeaderSize || place.position + place.size > size_) {
    return fail(ErrorCode::kCorruptMessage,
                "a batch in " + path(".log") + " has an impossible length");
  }
  return place;
}

Result<std::optional<BatchPlace>> Segment::find(int64_t offset) {
  uint64_t position = 0;
  const auto hint =
      std::find_if(hints_.begin(), hints_.end(), [&](const Hint& h) { return h.offset == offset; });
  if (hint != hints_.end()) {
    position = hint->position;
  } else {
    TRY_VOID(load_indexes());
    position = static_cast<uint64_t>(floor_position(offsets_, offset - base_offset_));
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
  ScanBuffer buffer(*file_, size_);
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
  TRY(const size_t got, file_->read_at(place.position, {bytes.mutable_data(), bytes.size()}));
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
    return truncate_and_reindex(size_, 4096);
  }
  offsets_ = std::move(*offsets);
  times_ = std::move(*times);
  max_timestamp_ = times_.back().timestamp;
  max_timestamp_offset_ = base_offset_ + times_.back().relative_offset;
  bytes_since_entry_ =
      static_cast<int64_t>(size_) - (offsets_.empty() ? 0 : offsets_.back().position);
  return {};
}

Result<> Segment::truncate_and_reindex(uint64_t size, int64_t index_interval) {
  if (size < size_) {
    TRY_VOID(file_->truncate(size));
    size_ = size;
  }
  indexed_ = true;
  offsets_.clear();
  times_.clear();
  hints_ = {};
  bytes_since_entry_ = 0;
  max_timestamp_ = max_timestamp_offset_ = first_timestamp_ = -1;
  reserved_ = 0;
  TRY(const uint64_t end, scan(0, false, [&](const BatchPlace& place, const BatchView&) {
        index_batch(place, index_interval);
        return true;
      }));
  (void)end;
  return {};
}

Result<> Segment::seal() {
  TRY_VOID(load_indexes());
  // The last entry of the time index tells the segment's largest timestamp.
  if (max_timestamp_ >= 0 && (times_.empty() || times_.back().timestamp < max_timestamp_)) {
    times_.push_back({max_timestamp_, static_cast<int32_t>(max_timestamp_offset_ - base_offset_)});
  }
  TRY_VOID(store_offset_index(disk_, path(".index"), offsets_));
  TRY_VOID(store_time_index(disk_, path(".timeindex"), times_));
  if (reserved_ > 0) {
    TRY_VOID(file_->truncate(size_));
    reserved_ = 0;
  }
  return {};
}

Result<std::vector<std::string>> Segment::mark_deleted() {
  std::vector<std::string> paths;
  for (const char* suffix : {".log", ".index", ".timeindex", ".txnindex", ".snapshot"}) {
    const std::string from = path(suffix);
    if (disk_.exists(from)) {
      TRY_VOID(disk_.rename(from, from + ".deleted"));
      paths.push_back(from + ".deleted");
    }
  }
  return paths;
}

}  // namespace klamm::storage
