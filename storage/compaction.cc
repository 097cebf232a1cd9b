#include "storage/compaction.h"

#include <algorithm>

#include "protocol/records/builder.h"
#include "protocol/records/compression.h"

namespace klamm::storage {

using protocol::BatchView;
using protocol::Bytes;
using protocol::RecordView;

namespace {

constexpr uint64_t kMapEntryOverhead = 72;  // node, string and bucket
constexpr uint64_t kGroupSizeMax = INT32_MAX;

std::string text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Calls `visit` for each record; `plain` keeps the bytes that the records point into.
Result<> each_record(const BatchView& batch, Bytes& plain,
                     const std::function<void(const RecordView&)>& visit) {
  TRY(plain, protocol::decompress(batch.compression(), batch.body(), INT32_MAX));
  protocol::RecordIterator records(plain.span(), batch.count());
  while (true) {
    TRY(const auto record, records.next());
    if (!record) {
      return {};
    }
    visit(*record);
  }
}

// Where cleaning may go up to: segments that are young, or not stable, wait.
size_t cleanable_count(const Log& log, const std::vector<Segment*>& closed, int64_t stable_end,
                       int64_t now_ms) {
  size_t count = 0;
  for (; count < closed.size(); ++count) {
    const int64_t end = log.base_behind(closed[count]->base_offset());
    const auto newest = closed[count]->max_timestamp();
    if (end > stable_end || !newest || *newest > now_ms - log.config().min_compaction_lag_ms) {
      break;
    }
  }
  return count;
}

}  // namespace

Result<std::unique_ptr<Compaction>> Compaction::begin(Log& log, int64_t stable_end, int64_t now_ms,
                                                      uint64_t map_bytes_max) {
  const LogConfig& config = log.config();
  auto segments = log.closed_segments();
  if (!config.cleanup_compact || segments.empty()) {
    return nullptr;
  }
  segments.resize(cleanable_count(log, segments, stable_end, now_ms));
  std::unique_ptr<Compaction> compaction(new Compaction(log, now_ms, map_bytes_max));
  compaction->generation_ = log.closed_generation();
  uint64_t clean_bytes = 0;
  uint64_t dirty_bytes = 0;
  for (Segment* segment : segments) {
    const bool is_dirty = log.base_behind(segment->base_offset()) > log.cleaned_to();
    (is_dirty ? dirty_bytes : clean_bytes) += segment->size();
    if (is_dirty) {
      compaction->dirty_.push_back(segment);
    }
  }
  if (dirty_bytes == 0) {
    return nullptr;
  }
  TRY(const int64_t oldest, compaction->dirty_.front()->first_timestamp());
  const bool is_overdue = oldest >= 0 && now_ms - oldest > config.max_compaction_lag_ms;
  const double ratio =
      static_cast<double>(dirty_bytes) / static_cast<double>(clean_bytes + dirty_bytes);
  if (!is_overdue && ratio <= config.min_cleanable_dirty_ratio) {
    return nullptr;
  }
  return compaction;
}

Result<bool> Compaction::step(uint64_t budget) {
  if (log_.closed_generation() != generation_) {
    return true;  // other segments than those that were planned with; the next time is soon
  }
  if (reading_keys_) {
    TRY_VOID(read_keys(budget));
    if (!reading_keys_ && end_ > dirty_.front()->base_offset()) {
      plan_groups();
    }
    return !reading_keys_ && groups_.empty();
  }
  TRY_VOID(clean(budget));
  if (next_group_ < groups_.size()) {
    return false;
  }
  log_.set_cleaned_to(end_);
  return true;
}

Result<> Compaction::note_keys(const BatchView& batch) {
  Bytes plain;
  return each_record(batch, plain, [&](const RecordView& record) {
    if (record.key) {
      const auto [entry, is_new] =
          newest_.insert_or_assign(text(*record.key), batch.base_offset() + record.offset_delta);
      map_bytes_ += is_new ? entry->first.size() + kMapEntryOverhead : 0;
    }
  });
}

// Visits the batches of the next `budget` bytes until `visit` says false. True once the segment is
// read to its end.
Result<bool> Compaction::scan_slice(Segment& segment, uint64_t budget,
                                    const std::function<Result<bool>(const BatchView&)>& visit) {
  const uint64_t until = position_ + budget;
  Result<bool> wanted = true;
  TRY(position_,
      segment.scan(position_, true, [&](const BatchPlace& place, const BatchView& batch) {
        if (place.position >= until) {
          return false;
        }
        wanted = visit(batch);
        return wanted.has_value() && *wanted;
      }));
  if (!wanted || position_ == segment.size()) {
    return wanted ? Result<bool>(true) : wanted;
  }
  if (*wanted && position_ < until) {
    return fail(ErrorCode::kCorruptMessage, "a batch in " + segment.folder() + " is damaged");
  }
  return false;
}

Result<> Compaction::meet_segment(const Segment& segment) {
  TRY(const TxnIndex aborted,
      log_.aborted_between(segment.base_offset(), log_.base_behind(segment.base_offset())));
  transactions_.add(aborted);
  return {};
}

Result<> Compaction::read_keys(uint64_t budget) {
  Segment& segment = *dirty_[next_dirty_];
  if (position_ == 0) {
    TRY_VOID(meet_segment(segment));
  }
  TRY(const bool at_end, scan_slice(segment, budget, [&](const BatchView& batch) -> Result<bool> {
        TxnIndex ignored;
        if (batch.is_control()) {
          transactions_.read_control(batch, ignored);
        } else if (!transactions_.read_data(batch)) {
          TRY_VOID(note_keys(batch));
        }
        return true;
      }));
  if (at_end) {
    position_ = 0;
    ++next_dirty_;
    end_ = log_.base_behind(segment.base_offset());
    reading_keys_ = next_dirty_ < dirty_.size() && map_bytes_ < map_bytes_max_;
    if (!reading_keys_) {
      transactions_ = {};
    }
  }
  return {};
}

// Neighbours are joined while they fit one segment.
void Compaction::plan_groups() {
  const uint64_t size_max =
      std::min<uint64_t>(static_cast<uint64_t>(log_.config().segment_bytes), kGroupSizeMax);
  uint64_t size = 0;
  for (Segment* segment : log_.closed_segments()) {
    if (segment->base_offset() >= end_) {
      break;
    }
    const bool joins =
        !groups_.empty() && size + segment->size() <= size_max &&
        log_.base_behind(segment->base_offset()) - groups_.back().front()->base_offset() <=
            INT32_MAX;
    if (!joins) {
      groups_.emplace_back();
      size = 0;
    }
    groups_.back().push_back(segment);
    size += segment->size();
  }
}

bool Compaction::keeps(const BatchView& batch, const RecordView& record) const {
  if (!record.key) {
    return false;
  }
  const auto newest = newest_.find(text(*record.key));
  if (newest != newest_.end() && batch.base_offset() + record.offset_delta < newest->second) {
    return false;
  }
  return record.value || !batch.has_delete_horizon() || now_ms_ < batch.base_timestamp();
}

// Its last sequence, or where only a marker is left of a producer, its epoch.
bool Compaction::is_last_of_producer(const BatchView& batch) const {
  const auto& producers = log_.producers().producers();
  const auto producer = producers.find(batch.producer_id());
  if (producer == producers.end() || producer->second.epoch != batch.producer_epoch()) {
    return false;
  }
  const auto& batches = producer->second.batches;
  return batches.empty() ? batch.is_control() : batches.back().last_offset == batch.last_offset();
}

// Nothing of the batch stays but, if need be, what it says of its producer.
Result<> Compaction::drop(const BatchView& batch) {
  if (!is_last_of_producer(batch)) {
    return {};
  }
  return batch.count() == 0 ? write(batch.bytes())
                            : write(protocol::rebuild_batch(batch, {}, std::nullopt).span());
}

// A marker whose transaction has nothing left gets a delete horizon, and goes when that is over.
Result<> Compaction::clean_control(const BatchView& batch) {
  const bool is_needless = transactions_.read_control(batch, aborted_);
  if (is_needless && !batch.has_delete_horizon() && batch.count() > 0) {
    Bytes plain;
    std::vector<RecordView> records;
    TRY_VOID(
        each_record(batch, plain, [&](const RecordView& record) { records.push_back(record); }));
    const int64_t horizon = now_ms_ + log_.config().delete_retention_ms;
    return write(protocol::rebuild_batch(batch, records, horizon).span());
  }
  const bool goes = is_needless && (batch.count() == 0 || now_ms_ >= batch.base_timestamp());
  if (!goes) {
    return write(batch.bytes());
  }
  return drop(batch);
}

Result<> Compaction::clean_batch(const BatchView& batch) {
  if (batch.is_control()) {
    return clean_control(batch);
  }
  if (transactions_.read_data(batch)) {
    return drop(batch);
  }
  Bytes plain;
  std::vector<RecordView> kept;
  bool has_tombstone = false;
  TRY_VOID(each_record(batch, plain, [&](const RecordView& record) {
    if (keeps(batch, record)) {
      kept.push_back(record);
      has_tombstone = has_tombstone || !record.value;
    }
  }));
  if (kept.empty()) {
    return drop(batch);
  }
  const bool begins_horizon = has_tombstone && !batch.has_delete_horizon();
  if (kept.size() == static_cast<size_t>(batch.count()) && !begins_horizon) {
    return write(batch.bytes());
  }
  const auto horizon =
      begins_horizon ? std::optional(now_ms_ + log_.config().delete_retention_ms) : std::nullopt;
  return write(protocol::rebuild_batch(batch, kept, horizon).span());
}

Result<> Compaction::write(std::span<const uint8_t> batch) {
  TRY_VOID(out_->write_at(out_size_, {&batch, 1}));
  out_size_ += batch.size();
  return {};
}

Result<> Compaction::clean(uint64_t budget) {
  if (group_is_written_) {
    return finish_group();
  }
  const auto& group = groups_[next_group_];
  if (out_ == nullptr) {
    TRY(out_, log_.open_cleaned(group.front()->base_offset()));
    out_size_ = 0;
    aborted_.clear();
  }
  if (position_ == 0) {
    TRY_VOID(meet_segment(*group[next_in_group_]));
  }
  const uint64_t from = position_;
  TRY(const bool at_end,
      scan_slice(*group[next_in_group_], budget, [&](const BatchView& batch) -> Result<bool> {
        TRY_VOID(clean_batch(batch));
        return true;
      }));
  bytes_read_ += position_ - from;
  if (!at_end) {
    return {};
  }
  position_ = 0;
  if (++next_in_group_ == group.size()) {
    group_is_written_ = true;
    unsynced_ = out_;
  }
  return {};
}

Result<> Compaction::finish_group() {
  std::vector<int64_t> bases;
  for (const Segment* segment : groups_[next_group_]) {
    bases.push_back(segment->base_offset());
  }
  if (unsynced_ != nullptr) {
    TRY_VOID(unsynced_->sync());
    unsynced_.reset();
  }
  out_.reset();
  group_is_written_ = false;
  TRY_VOID(log_.replace_segments(bases, aborted_, now_ms_));
  bytes_kept_ += out_size_;
  generation_ = log_.closed_generation();
  next_in_group_ = 0;
  ++next_group_;
  return {};
}

}  // namespace klamm::storage
