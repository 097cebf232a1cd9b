// How a log is found on disk and made whole: leftovers of what a crash interrupted, segments that
// were not synced, producers and epochs (the second half of log.h).
#include <algorithm>
#include <charconv>

#include "protocol/base/check.h"
#include "storage/log.h"

namespace klamm::storage {

using protocol::BatchView;

namespace {

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
  TRY_VOID(log->open_segments(options));
  log->start_offset_ = std::max(options.log_start_offset, log->segments_.begin()->first);
  log->last_flush_ms_ = options.now_ms;
  log->cleaned_to_ = std::max(options.cleaned_to, log->start_offset_);
  TRY_VOID(log->load_epochs());
  TRY_VOID(log->recover(options));
  log->start_offset_ = std::min(log->start_offset_, log->end_offset_);
  log->epochs_.truncate_from_end(log->end_offset_);
  return log;
}

Result<> Log::open_segments(const OpenOptions& options) {
  std::vector<int64_t> swaps;
  TRY(auto bases, clean_up_and_list(swaps));
  for (const int64_t base : swaps) {
    TRY_VOID(finish_swap(base, bases));
  }
  for (const int64_t base : bases) {
    TRY(segments_[base], open_segment(base, false));
  }
  if (segments_.empty()) {
    const int64_t base = std::max<int64_t>(options.log_start_offset, 0);
    TRY(segments_[base], open_segment(base, true));
    names_changed_ = true;
  }
  return {};
}

// Removes what an interrupted deletion or cleaning left. Returns the segments that are there; in
// `swaps` those that wait to take the place of others.
Result<std::set<int64_t>> Log::clean_up_and_list(std::vector<int64_t>& swaps) {
  TRY(const auto names, disk_.list(folder_));
  std::set<int64_t> bases;
  for (const std::string& name : names) {
    if (name.ends_with(".deleted") || name.ends_with(".cleaned") || name.ends_with(".tmp")) {
      TRY_VOID(disk_.remove(path(name)));
    } else if (const auto swapped = parse_name(name, ".log.swap")) {
      swaps.push_back(*swapped);
    } else if (const auto txns = parse_name(name, ".txnindex.swap")) {
      // Only beside the log that it belongs to (which sorts before it) it says something.
      if (std::find(swaps.begin(), swaps.end(), *txns) == swaps.end()) {
        TRY_VOID(disk_.remove(path(name)));
      }
    } else if (name.ends_with(".swap")) {
      TRY_VOID(disk_.remove(path(name)));  // an index; it is made anew
    } else if (const auto base = parse_name(name, ".log")) {
      bases.insert(*base);
    }
  }
  return bases;
}

namespace {

// The offset behind the last batch of a file, by the headers alone.
Result<int64_t> end_of_batches(const File& file, int64_t base_offset) {
  TRY(const uint64_t size, file.size());
  int64_t end = base_offset;
  for (uint64_t position = 0;;) {
    const auto batch = batch_at(file, position, size);
    if (!batch && batch.error().code != ErrorCode::kCorruptMessage) {
      return std::unexpected(batch.error());
    }
    if (!batch || !*batch) {
      return end;
    }
    end = (*batch)->last_offset + 1;
    position += (*batch)->size;
  }
}

}  // namespace

// The segments whose records the new one holds must be gone for good before it takes its name, or
// another crash would leave both.
Result<> Log::finish_swap(int64_t base_offset, std::set<int64_t>& bases) {
  const std::string swap = path(file_name(base_offset, ".log.swap"));
  const std::string txns = path(file_name(base_offset, ".txnindex"));
  const bool swaps_txns = disk_.exists(txns + ".swap");
  TRY(const auto file, disk_.open(swap, OpenMode::kRead));
  TRY(const int64_t end, end_of_batches(*file, base_offset));
  bases.insert(base_offset);  // its log may be gone already, but not its indexes
  for (auto old = bases.lower_bound(base_offset); old != bases.end() && *old < end;) {
    for (const char* suffix : kSegmentSuffixes) {
      // Without a swap it is the new one already, or there was never one.
      if (*old != base_offset || suffix != std::string_view(".txnindex") || swaps_txns) {
        TRY_VOID(disk_.remove(path(file_name(*old, suffix))));
      }
    }
    old = bases.erase(old);
  }
  if (swaps_txns) {
    TRY_VOID(disk_.rename(txns + ".swap", txns));
  }
  TRY_VOID(disk_.sync_dir(folder_));
  TRY_VOID(disk_.rename(swap, path(file_name(base_offset, ".log"))));
  bases.insert(base_offset);
  return disk_.sync_dir(folder_);
}

// After an unclean stop: what the recovery point does not vouch for. A damaged list of aborted
// transactions can only be made anew from the records.
Log::Segments::iterator Log::first_to_verify(const OpenOptions& options) {
  for (auto it = segments_.begin(); it != segments_.end(); ++it) {
    const auto next = std::next(it);
    const bool is_unsynced = next == segments_.end() || next->first > options.recovery_point;
    if ((!options.clean && is_unsynced) || !it->second->aborted()) {
      return it;
    }
  }
  return segments_.end();
}

Result<> Log::recover(const OpenOptions& options) {
  const auto first = first_to_verify(options);
  if (first == segments_.end()) {
    TRY_VOID(find_end(active()));
    recovery_point_ = end_offset_;
    return load_producers(end_offset_);
  }
  names_changed_ = true;  // who was killed may not have synced them
  end_offset_ = first->first;
  TRY_VOID(load_producers(end_offset_));
  TRY_VOID(verify_from(first));
  recovery_point_ = std::min(options.clean ? first->first : options.recovery_point, end_offset_);
  return sync_recovered(options.now_ms);
}

// What a killed process had not synced counts as safe from here on if it must be safe at all.
Result<> Log::sync_recovered(int64_t now_ms) {
  if (end_offset_ - recovery_point_ < config_.flush_messages) {
    return {};
  }
  TRY(auto flush, begin_flush(now_ms));
  const auto outcome = flush.run();
  finish_flush(std::move(flush), outcome);
  return outcome;
}

Result<> Log::verify_from(Segments::iterator first) {
  bool sound = true;
  for (auto it = first; it != segments_.end();) {
    const auto next = std::next(it);
    // One that begins below the end was truncated away, and a power cut has brought it back.
    if (!sound || it->first < end_offset_) {
      TRY_VOID(remove_now(it->first));
    } else {
      TRY(sound, verify(*it->second));
      if (sound && next != segments_.end()) {
        TRY_VOID(it->second->seal());
      }
    }
    it = next;
  }
  return {};
}

// True when the segment was sound to its end.
Result<bool> Log::verify(Segment& segment) {
  int64_t expected = segment.base_offset();
  TRY_VOID(segment.truncate_aborted(expected));
  Result<> noted;
  TRY(const bool sound,
      segment.verify_and_reindex(
          config_.index_interval_bytes, [&](const BatchPlace& place, const BatchView& batch) {
            if (place.base_offset < expected || place.last_offset < place.base_offset) {
              return false;
            }
            expected = place.last_offset + 1;
            epochs_changed_ =
                epochs_.assign(batch.leader_epoch(), place.base_offset) || epochs_changed_;
            if (const auto aborted = producers_.aborted_by(batch)) {
              noted = segment.add_aborted(*aborted);
            }
            producers_.update(batch);
            return noted.has_value();
          }));
  TRY_VOID(std::move(noted));
  end_offset_ = expected;
  return sound;
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

// The newest sound snapshot at or below `end`, then the batches between.
Result<> Log::load_producers(int64_t end) {
  TRY(const auto names, disk_.list(folder_));
  producers_.clear();
  int64_t from = start_offset_;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    const auto offset = parse_name(*name, ".snapshot");
    if (!offset) {
      continue;
    }
    if (*offset <= end) {
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
    if (batch.base_offset() >= end) {
      return false;
    }
    producers_.update(batch);
    return true;
  });
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

}  // namespace klamm::storage
