#include "storage/log.h"

#include <algorithm>

#include "protocol/base/check.h"
#include "protocol/records/compression.h"

namespace klamm::storage {

using protocol::BatchView;
using protocol::Bytes;
using protocol::Payload;

namespace {

constexpr int64_t kSegmentSizeMax = INT32_MAX;  // positions in the index are int32

}  // namespace

// A segment that no reader can hold any more, or must not.
Result<> Log::remove_now(int64_t base_offset) {
  TRY(const auto paths, segments_.at(base_offset)->mark_deleted());
  for (const auto& name : paths) {
    TRY_VOID(disk_.remove(name));
  }
  names_changed_ = true;  // a power cut must not bring it back once the log has gone on
  segments_.erase(base_offset);
  return {};
}

Result<> Log::visit(int64_t offset, const std::function<bool(const BatchView&)>& visit) {
  bool wanted = true;
  for (auto it = segments_.begin(); it != segments_.end() && wanted; ++it) {
    const auto next = std::next(it);
    if (it->first >= end_offset_) {
      break;  // while the log is recovered there may be more, which nobody has verified
    }
    if (offset >= end_offset_ || (next != segments_.end() && next->first <= offset)) {
      continue;
    }
    TRY(const auto first, it->second->find(offset));
    if (!first) {
      continue;
    }
    TRY(const uint64_t end,
        it->second->scan(first->position, true, [&](const BatchPlace&, const BatchView& batch) {
          wanted = visit(batch);
          return wanted;
        }));
    (void)end;
  }
  return {};
}

Result<std::unique_ptr<Segment>> Log::open_segment(int64_t base_offset, bool create) {
  TRY(auto segment, Segment::open(disk_, *open_files_, folder_, base_offset, create));
  if (create && config_.preallocate) {
    TRY_VOID(segment->reserve(static_cast<uint64_t>(config_.segment_bytes)));
  }
  return segment;
}

Result<> Log::rename_folder(std::string to) {
  TRY_VOID(disk_.rename(folder_, to));
  folder_ = std::move(to);
  removals_.clear();  // the next start finds them
  names_changed_ = true;
  return {};
}

void Log::share(OpenFiles& open_files) {
  open_files_ = &open_files;
  for (const auto& [base, segment] : segments_) {
    segment->share(open_files);
  }
}

uint64_t Log::size() const {
  uint64_t total = 0;
  for (const auto& [base, segment] : segments_) {
    total += segment->size();
  }
  return total;
}

Result<bool> Log::must_roll(uint64_t more, int64_t next_last_offset, int64_t timestamp,
                            int64_t now_ms) {
  Segment& segment = active();
  if (segment.size() == 0) {
    return false;
  }
  TRY(const int64_t first, segment.first_timestamp());
  const int64_t reference = timestamp >= 0 ? timestamp : now_ms;
  return segment.size() + more >
             static_cast<uint64_t>(std::min(config_.segment_bytes, kSegmentSizeMax)) ||
         (first >= 0 && reference - first > config_.segment_ms) ||
         segment.index_is_full(config_.segment_index_bytes) ||
         next_last_offset - segment.base_offset() > INT32_MAX;
}

Result<AppendInfo> Log::append_as_leader(Bytes bytes, int32_t leader_epoch, int64_t now_ms,
                                         const AppendOrigin& origin) {
  TRY(const BatchView batch, BatchView::parse(bytes.span()));
  if (static_cast<int64_t>(bytes.size()) > config_.segment_bytes) {
    return fail(ErrorCode::kRecordListTooLarge, "the batch is larger than a segment");
  }
  if (origin.writer != AppendOrigin::Writer::kQuorum && batch.has_producer_id()) {
    TRY(const auto verdict, producers_.check(batch, origin));
    if (verdict.duplicate) {
      return AppendInfo{verdict.original.base_offset(), verdict.original.last_offset,
                        verdict.original.timestamp, true};
    }
  }
  protocol::patch_offset_and_epoch(bytes.mutable_data(), end_offset_, leader_epoch);
  TRY_VOID(write(bytes, batch, now_ms, origin.transaction_version));
  return AppendInfo{batch.base_offset(), batch.last_offset(),
                    batch.timestamp_type() == protocol::TimestampType::kLogAppendTime
                        ? batch.max_timestamp()
                        : -1,
                    false};
}

Result<> Log::append_as_follower(const Bytes& bytes, int64_t now_ms) {
  TRY(const BatchView batch, BatchView::parse(bytes.span()));
  if (batch.base_offset() < end_offset_) {
    return fail(ErrorCode::kCorruptMessage, "the leader's batch does not follow the log's end");
  }
  return write(bytes, batch, now_ms);
}

// `batch`, the view of `bytes`, is final.
Result<> Log::write(const Bytes& bytes, const BatchView& batch, int64_t now_ms,
                    int16_t transaction_version) {
  TRY(const bool rolls,
      must_roll(bytes.size(), batch.last_offset(), batch.max_timestamp(), now_ms));
  if (rolls) {
    TRY_VOID(roll());
  }
  const std::span<const uint8_t> part = bytes.span();
  const BatchPlace place{active().size(), bytes.size(), batch.base_offset(), batch.last_offset(),
                         batch.max_timestamp()};
  // First, for records whose marker is there without it would count as committed.
  const auto aborted = producers_.aborted_by(batch);
  if (aborted) {
    TRY_VOID(active().add_aborted(*aborted));
  }
  if (auto written = active().append({&part, 1}, place, config_.index_interval_bytes); !written) {
    if (aborted) {
      TRY_VOID(active().truncate_aborted(batch.base_offset()));
    }
    return written;
  }
  producers_.update(batch, transaction_version);
  if (epochs_.assign(batch.leader_epoch(), batch.base_offset())) {
    epochs_changed_ = true;
  }
  unflushed_records_ += batch.last_offset() - batch.base_offset() + 1;
  end_offset_ = batch.last_offset() + 1;
  return {};
}

Result<> Log::begin_again_at(int64_t offset) {
  while (!segments_.empty()) {
    TRY_VOID(remove_now(segments_.begin()->first));
  }
  TRY(auto first, open_segment(offset, true));
  segments_[offset] = std::move(first);
  start_offset_ = end_offset_ = recovery_point_ = cleaned_to_ = offset;
  unflushed_records_ = 0;
  producers_.clear();
  new_snapshots_.clear();
  epochs_.truncate_from_end(0);
  epochs_changed_ = names_changed_ = true;
  ++truncations_;
  ++closed_generation_;
  return {};
}

Result<std::optional<Log::Range>> Log::locate(int64_t offset, size_t size_max, int64_t end_bound,
                                              bool at_least_one) {
  if (offset < start_offset_ || offset > end_offset_) {
    return fail(ErrorCode::kOffsetOutOfRange, "the offset is outside the log");
  }
  const int64_t bound = std::min(end_bound, end_offset_);
  auto it = segments_.upper_bound(offset);
  CHECK_INVARIANT(it != segments_.begin());
  for (--it; it != segments_.end() && offset < bound; ++it) {
    Segment& segment = *it->second;
    TRY(const auto first, segment.find(offset));
    if (!first) {
      continue;  // compaction may leave a segment without anything at or above the offset
    }
    uint64_t end = segment.size();
    const auto next = std::next(it);
    if (bound < (next == segments_.end() ? end_offset_ : next->first)) {
      TRY(const auto stop, segment.find(bound));
      end = stop ? stop->position : end;
    }
    if (first->position >= end) {
      break;
    }
    const uint64_t wanted = at_least_one ? std::max<uint64_t>(size_max, first->size) : size_max;
    return Range{it, first->position, std::min(wanted, end - first->position)};
  }
  return std::nullopt;
}

Result<Payload> Log::read(int64_t offset, size_t size_max, int64_t end_bound, bool at_least_one) {
  TRY(const auto range, locate(offset, size_max, end_bound, at_least_one));
  return range ? payload_of(*range) : Payload();
}

Result<Payload> Log::payload_of(const Range& range) {
  Payload payload;
  if (range.size > 0) {
    TRY(auto file, range.segment->second->file());
    payload.add({Bytes(), std::move(file), range.position, static_cast<size_t>(range.size)});
  }
  return payload;
}

Result<Log::Committed> Log::read_committed(int64_t offset, size_t size_max, int64_t stable_end,
                                           bool at_least_one) {
  TRY(const auto range, locate(offset, size_max, stable_end, at_least_one));
  Committed result;
  if (!range || range->size == 0) {
    return result;
  }
  TRY(result.records, payload_of(*range));
  const auto next = std::next(range->segment);
  TRY(const auto behind, range->segment->second->offset_behind(range->position + range->size));
  const int64_t end = behind ? *behind : next == segments_.end() ? end_offset_ : next->first;
  TRY(result.aborted, aborted_between(offset, end));
  return result;
}

Result<TxnIndex> Log::aborted_between(int64_t from, int64_t to) {
  TxnIndex found;
  for (auto it = std::prev(segments_.upper_bound(from)); it != segments_.end(); ++it) {
    TRY(const TxnIndex* aborted, it->second->aborted());
    if (collect_aborted(*aborted, from, to, found)) {
      break;
    }
  }
  return found;
}

// The first record of a batch whose timestamp is at or above the wanted one.
Result<TimestampOffset> Log::record_at(Segment& segment, const BatchPlace& place,
                                       int64_t timestamp) {
  TRY(const Bytes bytes, segment.read(place));
  TRY(const BatchView batch, BatchView::parse(bytes.span()));
  const int32_t epoch = batch.leader_epoch();
  if (batch.timestamp_type() == protocol::TimestampType::kLogAppendTime || batch.is_control()) {
    return TimestampOffset{batch.max_timestamp(), batch.base_offset(), epoch};
  }
  TRY(const Bytes plain, protocol::decompress(batch.compression(), batch.body(), INT32_MAX));
  protocol::RecordIterator records(plain.span(), batch.count());
  while (true) {
    TRY(const auto record, records.next());
    if (!record) {
      return TimestampOffset{batch.max_timestamp(), batch.base_offset(), epoch};
    }
    const int64_t time = batch.base_timestamp() + record->timestamp_delta;
    const int64_t offset = batch.base_offset() + record->offset_delta;
    if (time >= timestamp && offset >= start_offset_) {
      return TimestampOffset{time, offset, epoch};
    }
  }
}

Result<TimestampOffset> Log::find_timestamp(int64_t timestamp) {
  for (auto& [base, segment] : segments_) {
    TRY(auto place, segment->find_time(timestamp));
    while (place && place->last_offset < start_offset_) {
      TRY(place, segment->find(place->last_offset + 1));
      if (place && place->max_timestamp < timestamp) {
        continue;
      }
    }
    if (place && place->max_timestamp >= timestamp) {
      return record_at(*segment, *place, timestamp);
    }
  }
  return TimestampOffset{};
}

Result<TimestampOffset> Log::find_max_timestamp() {
  Segment* newest = nullptr;
  int64_t largest = -1;
  for (auto& [base, segment] : segments_) {
    TRY(const int64_t time, segment->max_timestamp());
    if (time > largest) {
      largest = time;
      newest = segment.get();
    }
  }
  if (newest == nullptr) {
    return TimestampOffset{};
  }
  TRY(const auto place, newest->find_time(largest));
  return place ? record_at(*newest, *place, largest) : TimestampOffset{};
}

Result<> Log::roll() {
  TRY_VOID(active().seal());
  TRY(auto next, open_segment(end_offset_, true));
  segments_[end_offset_] = std::move(next);
  new_snapshots_[end_offset_] = producers_.to_snapshot();
  names_changed_ = true;
  rolled_ = true;
  return remove_stale_snapshots();
}

Result<> LogFlush::run() {
  if (names_changed_) {
    TRY_VOID(disk_->sync_dir(parent_of(folder_)));
    TRY_VOID(disk_->sync_dir(folder_));
    if (const auto metadata = disk_->open(folder_ + "/partition.metadata", OpenMode::kReadWrite)) {
      TRY_VOID((*metadata)->sync());
    }
  }
  for (const auto& file : files_) {
    TRY_VOID(file->sync());
  }
  for (const auto& [offset, content] : snapshots_) {
    TRY_VOID(disk_->replace_file(folder_ + "/" + file_name(offset, ".snapshot"), content));
  }
  return epochs_ ? disk_->replace_file(folder_ + "/leader-epoch-checkpoint", *epochs_) : Result<>();
}

Result<LogFlush> Log::begin_flush(int64_t now_ms) {
  LogFlush flush;
  for (auto it = segments_.rbegin(); it != segments_.rend(); ++it) {
    TRY(const auto files, it->second->files());
    flush.files_.insert(flush.files_.end(), files.begin(), files.end());
    if (it->first <= recovery_point_) {
      break;
    }
  }
  flush.disk_ = &disk_;
  flush.folder_ = folder_;
  flush.names_changed_ = std::exchange(names_changed_, false);
  flush.snapshots_ = std::exchange(new_snapshots_, {});
  if (std::exchange(epochs_changed_, false)) {
    flush.epochs_ = epochs_.to_text();
  }
  flush.end_offset_ = end_offset_;
  flush.truncations_ = truncations_;
  unflushed_records_ = 0;
  rolled_ = false;
  last_flush_ms_ = now_ms;
  return flush;
}

void Log::finish_flush(LogFlush&& flush, const Result<>& outcome) {
  const bool was_cut = flush.truncations_ != truncations_;
  if (outcome && !was_cut) {
    recovery_point_ = std::max(recovery_point_, flush.end_offset_);
    return;
  }
  // Of a log that was cut meanwhile it is not known what of it is on the medium.
  unflushed_records_ = std::max<int64_t>(unflushed_records_, end_offset_ - recovery_point_);
  if (outcome) {
    return;
  }
  // With the disk full this is tried again; with a broken one nothing is.
  names_changed_ = names_changed_ || flush.names_changed_;
  epochs_changed_ = epochs_changed_ || flush.epochs_.has_value();
  if (!was_cut) {
    new_snapshots_.merge(flush.snapshots_);
  }
}

Result<> Log::flush(int64_t now_ms) {
  TRY(auto flush, begin_flush(now_ms));
  const auto outcome = flush.run();
  finish_flush(std::move(flush), outcome);
  return outcome;
}

Result<> Log::close() {
  TRY_VOID(active().seal());
  new_snapshots_[end_offset_] = producers_.to_snapshot();
  TRY_VOID(flush(last_flush_ms_));
  return remove_stale_snapshots();
}

Result<> Log::advance_start(int64_t offset, int64_t now_ms) {
  if (offset > end_offset_) {
    return fail(ErrorCode::kOffsetOutOfRange, "the offset is beyond the log's end");
  }
  if (offset <= start_offset_) {
    return {};
  }
  start_offset_ = offset;
  epochs_.truncate_from_start(offset);
  epochs_changed_ = true;
  while (segments_.size() > 1 && std::next(segments_.begin())->first <= start_offset_) {
    TRY_VOID(delete_segment(segments_.begin()->first, now_ms));
  }
  return {};
}

Result<> Log::delete_segment(int64_t base_offset, int64_t now_ms) {
  ++closed_generation_;
  TRY(const auto paths, segments_.at(base_offset)->mark_deleted());
  segments_.erase(base_offset);
  for (const auto& name : paths) {
    removals_.push_back({name, now_ms + config_.file_delete_delay_ms});
  }
  return {};
}

std::vector<Segment*> Log::closed_segments() {
  std::vector<Segment*> closed;
  for (auto it = segments_.begin(); std::next(it) != segments_.end(); ++it) {
    closed.push_back(it->second.get());
  }
  return closed;
}

Result<> Log::replace_segments(std::span<const int64_t> bases, const TxnIndex& aborted,
                               int64_t now_ms) {
  const int64_t base = bases.front();
  const std::string target = path(file_name(base, ".log"));
  const std::string txns = path(file_name(base, ".txnindex"));
  bool had_aborted = false;
  for (const int64_t old : bases) {
    TRY(const TxnIndex* known, segments_.at(old)->aborted());
    had_aborted = had_aborted || !known->empty();
  }
  if (had_aborted) {
    TRY_VOID(store_txn_index(disk_, txns + ".swap", aborted));
  }
  TRY_VOID(disk_.rename(cleaned_path(base), target + ".swap"));
  TRY_VOID(disk_.sync_dir(folder_));  // from here on recovery finishes what we do
  for (const int64_t old : bases) {
    TRY_VOID(delete_segment(old, now_ms));
  }
  if (had_aborted) {
    TRY_VOID(disk_.rename(txns + ".swap", txns));
  }
  TRY_VOID(disk_.sync_dir(folder_));  // else a power cut could bring old ones back beside the new
  TRY_VOID(disk_.rename(target + ".swap", target));
  TRY(auto opened, open_segment(base, false));
  // Whatever fails from here on, readers find the records.
  Segment& segment = *(segments_[base] = std::move(opened));
  TRY_VOID(segment.truncate_and_reindex(segment.size(), config_.index_interval_bytes));
  TRY_VOID(segment.seal());
  TRY(const auto files, segment.files());
  for (const auto& file : files) {
    TRY_VOID(file->sync());  // it stands below the recovery point, where nobody looks again
  }
  return disk_.sync_dir(folder_);
}

Result<> Log::expire_segments(int64_t high_watermark, int64_t now_ms) {
  uint64_t excess =
      config_.retention_bytes >= 0 && size() > static_cast<uint64_t>(config_.retention_bytes)
          ? size() - static_cast<uint64_t>(config_.retention_bytes)
          : 0;
  while (!segments_.empty()) {
    Segment& oldest = *segments_.begin()->second;
    if (oldest.size() == 0 && segments_.size() == 1) {
      return {};
    }
    TRY(const int64_t newest_record, oldest.max_timestamp());
    // A segment that compaction has emptied goes when it is the oldest.
    const bool too_old = oldest.size() == 0 || (config_.retention_ms >= 0 && newest_record >= 0 &&
                                                now_ms - newest_record > config_.retention_ms);
    const bool too_much = excess >= oldest.size();
    const bool is_active = segments_.size() == 1;
    const int64_t end = is_active ? end_offset_ : std::next(segments_.begin())->first;
    if ((!too_old && !too_much) || end > high_watermark) {
      return {};
    }
    excess -= std::min<uint64_t>(excess, oldest.size());
    if (is_active) {
      TRY_VOID(roll());
    }
    TRY_VOID(advance_start(end, now_ms));
  }
  return {};
}

Result<> Log::housekeep(int64_t high_watermark, int64_t now_ms, int64_t producer_expiry_ms) {
  if (config_.cleanup_delete) {
    TRY_VOID(expire_segments(high_watermark, now_ms));
  }
  producers_.expire(now_ms - producer_expiry_ms);
  std::erase_if(removals_, [&](const Removal& removal) {
    return removal.due_ms <= now_ms && disk_.remove(removal.path).has_value();
  });
  return {};
}

Result<> Log::truncate_to(int64_t offset) {
  if (offset >= end_offset_) {
    // An epoch that began here and wrote nothing is none that the leader knows.
    const size_t before = epochs_.entries().size();
    epochs_.truncate_from_end(offset);
    epochs_changed_ = epochs_changed_ || epochs_.entries().size() != before;
    return {};
  }
  ++closed_generation_;
  cleaned_to_ = std::min(cleaned_to_, offset);
  while (segments_.size() > 1 && segments_.rbegin()->first >= offset) {
    TRY_VOID(remove_now(active().base_offset()));
  }
  TRY(const auto place, active().find(offset));
  if (place) {
    TRY_VOID(active().truncate_and_reindex(place->position, config_.index_interval_bytes));
    end_offset_ = place->base_offset;
  } else {
    end_offset_ = offset;
  }
  start_offset_ = std::min(start_offset_, end_offset_);
  recovery_point_ = std::min(recovery_point_, end_offset_);
  epochs_.truncate_from_end(end_offset_);
  epochs_changed_ = true;
  ++truncations_;
  new_snapshots_.clear();
  TRY_VOID(active().truncate_aborted(end_offset_));
  return load_producers(end_offset_);
}

}  // namespace klamm::storage
