#include "storage/log.h"

#include <algorithm>
#include <charconv>

#include "protocol/base/check.h"
#include "protocol/records/compression.h"

namespace klamm::storage {

using protocol::BatchView;
using protocol::Bytes;
using protocol::Payload;

namespace {

constexpr int64_t kSegmentSizeMax = INT32_MAX;  // positions in the index are int32

// The base offset in a name of 20 digits and the suffix; nullopt for any other name.
std::optional<int64_t> parse_name(std::string_view name, std::string_view suffix) {
  int64_t offset = 0;
  if (name.size() != 20 + suffix.size() || !name.ends_with(suffix)) {
    return std::nullopt;
  }
  const auto [end, error] = std::from_chars(name.data(), name.data() + 20, offset);
  return error == std::errc() && end == name.data() + 20 && offset >= 0 ? std::optional(offset)
                                                                        : std::nullopt;
}

}  // namespace

Result<std::unique_ptr<Log>> Log::open(Disk& disk, std::string folder, const LogConfig& config,
                                       const OpenOptions& options) {
  std::unique_ptr<Log> log(new Log(disk, std::move(folder), config));
  TRY_VOID(disk.make_dirs(log->folder_));
  std::vector<int64_t> swapped;
  TRY(const auto bases, log->clean_up_and_list(swapped));
  for (const int64_t base : bases) {
    TRY(log->segments_[base], Segment::open(disk, log->folder_, base, false));
  }
  for (const int64_t base : swapped) {
    TRY_VOID(log->drop_replaced(base));
  }
  if (log->segments_.empty()) {
    const int64_t base = std::max<int64_t>(options.log_start_offset, 0);
    TRY(log->segments_[base], Segment::open(disk, log->folder_, base, true));
    TRY_VOID(disk.sync_dir(log->folder_));
  }
  log->start_offset_ = std::max(options.log_start_offset, log->segments_.begin()->first);
  log->last_flush_ms_ = options.now_ms;
  log->cleaned_to_ = std::max(options.cleaned_to, log->start_offset_);
  TRY_VOID(log->load_epochs());
  TRY_VOID(log->recover(options));
  log->start_offset_ = std::min(log->start_offset_, log->end_offset_);
  log->epochs_.truncate_from_end(log->end_offset_);
  TRY_VOID(log->load_producers());
  return log;
}

// Removes what an interrupted deletion or cleaning left and finishes an interrupted swap; the
// indexes of a segment that is swapped out say nothing about the new one.
Result<std::vector<int64_t>> Log::clean_up_and_list(std::vector<int64_t>& swapped) {
  TRY(const auto names, disk_.list(folder_));
  std::vector<int64_t> bases;
  for (std::string name : names) {
    if (name.ends_with(".deleted") || name.ends_with(".cleaned") || name.ends_with(".tmp")) {
      TRY_VOID(disk_.remove(path(name)));
      continue;
    }
    if (name.ends_with(".swap")) {
      const std::string target = name.substr(0, name.size() - 5);
      TRY_VOID(disk_.rename(path(name), path(target)));
      name = target;
      if (const auto base = parse_name(name, ".log")) {
        swapped.push_back(*base);
        TRY_VOID(disk_.remove(path(file_name(*base, ".index"))));
        TRY_VOID(disk_.remove(path(file_name(*base, ".timeindex"))));
      }
    }
    if (const auto base = parse_name(name, ".log")) {
      bases.push_back(*base);
    }
  }
  std::sort(bases.begin(), bases.end());
  bases.erase(std::unique(bases.begin(), bases.end()), bases.end());
  return bases;
}

// Removes the segments whose records a segment that was just swapped in holds.
Result<> Log::drop_replaced(int64_t swapped) {
  int64_t end = swapped;
  TRY(const uint64_t size,
      segments_.at(swapped)->scan(0, false, [&](const BatchPlace& place, const BatchView&) {
        end = place.last_offset + 1;
        return true;
      }));
  (void)size;
  while (true) {
    const auto next = segments_.upper_bound(swapped);
    if (next == segments_.end() || next->first >= end) {
      return {};
    }
    TRY_VOID(remove_now(next->first));
  }
}

// A segment that no reader can hold any more, or must not.
Result<> Log::remove_now(int64_t base_offset) {
  TRY(const auto paths, segments_.at(base_offset)->mark_deleted());
  for (const auto& name : paths) {
    TRY_VOID(disk_.remove(name));
  }
  segments_.erase(base_offset);
  return {};
}

Result<> Log::recover(const OpenOptions& options) {
  bool sound = true;
  for (auto it = segments_.begin(); it != segments_.end();) {
    const auto next = std::next(it);
    Segment& segment = *it->second;
    if (!sound) {
      TRY_VOID(remove_now(it->first));
      it = next;
      continue;
    }
    const bool is_last = next == segments_.end();
    const bool verify = !options.clean && (is_last || next->first > options.recovery_point);
    if (verify) {
      TRY_VOID(recover_segment(segment, sound));
    } else if (is_last) {
      TRY_VOID(find_end(segment));
    }
    it = next;
  }
  recovery_point_ = options.clean ? end_offset_ : std::min(options.recovery_point, end_offset_);
  if (!options.clean) {
    TRY_VOID(flush());
  }
  return {};
}

// The end is behind the last batch; the index leads close to it.
Result<> Log::find_end(Segment& segment) {
  end_offset_ = segment.base_offset();
  TRY(const uint64_t near_end, segment.last_indexed_position());
  TRY(const uint64_t end,
      segment.scan(near_end, false, [&](const BatchPlace& place, const BatchView&) {
        end_offset_ = place.last_offset + 1;
        return true;
      }));
  return end < segment.size() ? segment.truncate_and_reindex(end, config_.index_interval_bytes)
                              : Result<>();
}

Result<> Log::recover_segment(Segment& segment, bool& sound) {
  int64_t expected = segment.base_offset();
  TRY(const uint64_t end,
      segment.scan(0, true, [&](const BatchPlace& place, const BatchView& batch) {
        if (place.base_offset < expected || place.last_offset < place.base_offset) {
          return false;
        }
        expected = place.last_offset + 1;
        if (epochs_.assign(batch.leader_epoch(), place.base_offset)) {
          epochs_changed_ = true;
        }
        return true;
      }));
  sound = end == segment.size();
  end_offset_ = expected;
  return segment.truncate_and_reindex(end, config_.index_interval_bytes);
}

Result<> Log::load_epochs() {
  const std::string file = path("leader-epoch-checkpoint");
  if (disk_.exists(file)) {
    TRY(const std::string text, disk_.read_file(file));
    if (auto parsed = LeaderEpochs::parse(text)) {
      epochs_ = std::move(*parsed);
    }
  }
  return {};
}

// The newest sound snapshot at or below the end, then the batches behind it.
Result<> Log::load_producers() {
  TRY(const auto names, disk_.list(folder_));
  int64_t from = start_offset_;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    const auto offset = parse_name(*name, ".snapshot");
    if (!offset) {
      continue;
    }
    if (*offset <= end_offset_) {
      TRY(const std::string content, disk_.read_file(path(*name)));
      if (auto state = ProducerState::from_snapshot(content)) {
        producers_ = std::move(*state);
        from = *offset;
        break;
      }
    }
    TRY_VOID(disk_.remove(path(*name)));
  }
  return visit(from, [&](const BatchView& batch) {
    producers_.update(batch);
    return true;
  });
}

Result<> Log::visit(int64_t offset, const std::function<bool(const BatchView&)>& visit) {
  bool wanted = true;
  for (auto it = segments_.begin(); it != segments_.end() && wanted; ++it) {
    const auto next = std::next(it);
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
                                         bool check_producer) {
  TRY(const BatchView batch, BatchView::parse(bytes.span()));
  if (static_cast<int64_t>(bytes.size()) > config_.segment_bytes) {
    return fail(ErrorCode::kRecordListTooLarge, "the batch is larger than a segment");
  }
  if (check_producer && batch.has_producer_id()) {
    TRY(const auto verdict, producers_.check(batch));
    if (verdict.duplicate) {
      return AppendInfo{verdict.original.base_offset(), verdict.original.last_offset, -1, true};
    }
  }
  const int64_t last_offset = end_offset_ + batch.last_offset_delta();
  TRY(const bool rolls, must_roll(bytes.size(), last_offset, batch.max_timestamp(), now_ms));
  if (rolls) {
    TRY_VOID(roll(now_ms));
  }
  protocol::patch_offset_and_epoch(bytes.mutable_data(), end_offset_, leader_epoch);
  const std::span<const uint8_t> part = bytes.span();
  const BatchPlace place{active().size(), bytes.size(), end_offset_, last_offset,
                         batch.max_timestamp()};
  TRY_VOID(active().append({&part, 1}, place, config_.index_interval_bytes));
  if (epochs_.assign(leader_epoch, end_offset_)) {
    epochs_changed_ = true;
  }
  producers_.update(batch);
  const AppendInfo info{end_offset_, last_offset,
                        batch.timestamp_type() == protocol::TimestampType::kLogAppendTime
                            ? batch.max_timestamp()
                            : -1,
                        false};
  unflushed_records_ += last_offset - end_offset_ + 1;
  end_offset_ = last_offset + 1;
  if (unflushed_records_ >= config_.flush_messages || now_ms - last_flush_ms_ >= config_.flush_ms) {
    TRY_VOID(flush());
    last_flush_ms_ = now_ms;
  }
  return info;
}

Result<Payload> Log::read(int64_t offset, size_t size_max, int64_t end_bound, bool at_least_one) {
  if (offset < start_offset_ || offset > end_offset_) {
    return fail(ErrorCode::kOffsetOutOfRange, "the offset is outside the log");
  }
  Payload payload;
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
    const uint64_t size = std::min(wanted, end - first->position);
    if (size > 0) {
      payload.add({Bytes(), segment.file(), first->position, static_cast<size_t>(size)});
    }
    break;
  }
  return payload;
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

Result<> Log::roll(int64_t now_ms) {
  TRY_VOID(flush());
  last_flush_ms_ = now_ms;
  TRY_VOID(active().seal());
  TRY_VOID(store_snapshot());
  TRY(segments_[end_offset_], Segment::open(disk_, folder_, end_offset_, true));
  return disk_.sync_dir(folder_);
}

Result<> Log::flush() {
  for (auto it = segments_.rbegin(); it != segments_.rend(); ++it) {
    TRY_VOID(it->second->sync());
    if (it->first <= recovery_point_) {
      break;
    }
  }
  if (epochs_changed_) {
    TRY_VOID(store_epochs());
  }
  recovery_point_ = end_offset_;
  unflushed_records_ = 0;
  return {};
}

Result<> Log::store_epochs() {
  TRY_VOID(disk_.replace_file(path("leader-epoch-checkpoint"), epochs_.to_text()));
  epochs_changed_ = false;
  return {};
}

Result<> Log::store_snapshot() {
  const std::string file = path(file_name(end_offset_, ".snapshot"));
  TRY_VOID(disk_.replace_file(file, producers_.to_snapshot()));
  return remove_stale_snapshots();
}

// Snapshots are kept where a segment begins and at the end; the others have served their time.
Result<> Log::remove_stale_snapshots() {
  TRY(const auto names, disk_.list(folder_));
  for (const auto& name : names) {
    const auto offset = parse_name(name, ".snapshot");
    if (offset && *offset != end_offset_ && !segments_.contains(*offset)) {
      TRY_VOID(disk_.remove(path(name)));
    }
  }
  return {};
}

Result<> Log::close() {
  TRY_VOID(active().seal());
  TRY_VOID(flush());
  return store_snapshot();
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

Result<> Log::replace_segments(std::span<const int64_t> bases, int64_t now_ms) {
  const int64_t base = bases.front();
  const std::string target = path(file_name(base, ".log"));
  TRY_VOID(disk_.rename(cleaned_path(base), target + ".swap"));
  TRY_VOID(disk_.sync_dir(folder_));  // from here on recovery finishes what we do
  for (const int64_t old : bases) {
    TRY_VOID(delete_segment(old, now_ms));
  }
  TRY_VOID(disk_.rename(target + ".swap", target));
  TRY(auto segment, Segment::open(disk_, folder_, base, false));
  TRY_VOID(segment->truncate_and_reindex(segment->size(), config_.index_interval_bytes));
  TRY_VOID(segment->seal());
  segments_[base] = std::move(segment);
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
      TRY_VOID(roll(now_ms));
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
  if (now_ms - last_flush_ms_ >= config_.flush_ms && unflushed_records_ > 0) {
    TRY_VOID(flush());
    last_flush_ms_ = now_ms;
  }
  std::erase_if(removals_, [&](const Removal& removal) {
    return removal.due_ms <= now_ms && disk_.remove(removal.path).has_value();
  });
  return {};
}

Result<> Log::truncate_to(int64_t offset) {
  if (offset >= end_offset_) {
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
  producers_.clear();
  return load_producers();
}

}  // namespace klamm::storage
