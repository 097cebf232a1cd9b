#include "replication/raft/raft_log.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "protocol/records/builder.h"
#include "storage/checkpoint.h"

namespace klamm::replication {

using namespace protocol;

Bytes control_batch(std::span<const uint8_t> key, std::span<const uint8_t> value,
                    int64_t base_offset, int32_t epoch, int64_t now_ms) {
  BatchBuilder builder({.base_offset = base_offset, .leader_epoch = epoch, .control = true});
  builder.add(now_ms, key, value);
  return builder.build();
}

Bytes control_batch(const std::vector<std::pair<Bytes, Bytes>>& records, int32_t epoch,
                    int64_t now_ms) {
  BatchBuilder builder({.leader_epoch = epoch, .control = true});
  for (const auto& [key, value] : records) {
    builder.add(now_ms, key.span(), value.span());
  }
  return builder.build();
}

Bytes data_batch(const std::vector<Bytes>& records, int64_t base_offset, int32_t epoch,
                 int64_t now_ms) {
  BatchBuilder builder({.base_offset = base_offset, .leader_epoch = epoch});
  for (const Bytes& record : records) {
    builder.add(now_ms, std::nullopt, record.span());
  }
  return builder.build();
}

std::string SnapshotId::file_name() const {
  char name[64];
  std::snprintf(name, sizeof name, "%020lld-%010d.checkpoint", static_cast<long long>(end_offset),
                epoch);
  return name;
}

// `<offset:20>-<epoch:10>.checkpoint`
std::optional<SnapshotId> SnapshotId::parse(const std::string& name) {
  SnapshotId id;
  if (name.size() != 42 || !name.ends_with(".checkpoint") || name[20] != '-' ||
      std::from_chars(name.data(), name.data() + 20, id.end_offset).ptr != name.data() + 20 ||
      std::from_chars(name.data() + 21, name.data() + 31, id.epoch).ptr != name.data() + 31) {
    return std::nullopt;
  }
  return id;
}

Result<std::unique_ptr<RaftLog>> RaftLog::open(storage::Disk& disk, const storage::Clock& clock,
                                               const RaftLogOptions& options) {
  std::unique_ptr<RaftLog> log(new RaftLog(disk, clock, options));
  TRY_VOID(disk.make_dirs(options.folder));
  storage::LogConfig config;
  config.retention_ms = -1;
  config.max_message_bytes = 8 << 20;
  config.segment_bytes = options.segment_bytes;
  TRY(log->log_, storage::Log::open(disk, options.folder, config,
                                    {.clean = options.clean, .now_ms = clock.wall_ms()}));
  TRY_VOID(log->load());
  return log;
}

Result<> RaftLog::load() {
  TRY(const auto names, disk_.list(options_.folder));
  for (const auto& name : names) {
    // The bootstrap snapshot 0-0 only says what the first leader writes into an empty log.
    if (const auto id = SnapshotId::parse(name); id && id->end_offset > 0) {
      snapshot_ = std::max(snapshot_.value_or(SnapshotId{}), *id);
    }
  }
  if (snapshot_) {
    TRY_VOID(visit_snapshot(*snapshot_, [this](const BatchView& batch) {
      note_control(batch);
      return Result<>();
    }));
    // A crash between a fetched snapshot and the new beginning of the log.
    if (log_->end_offset() < snapshot_->end_offset) {
      TRY_VOID(begin_behind_snapshot());
    }
  }
  const SnapshotId bootstrap{0, 0};
  if (!snapshot_ && disk_.exists(path(bootstrap.file_name()))) {
    TRY_VOID(visit_snapshot(bootstrap, [this](const BatchView& batch) {
      note_control(batch);
      return Result<>();
    }));
  }
  return log_->visit(log_->start_offset(), [this](const BatchView& batch) {
    note_control(batch);
    return true;
  });
}

// The stock tool leaves the snapshot 0-0 and nothing else.
bool RaftLog::is_formatted() const {
  return disk_.exists(path("partition.metadata")) ||
         disk_.exists(path(SnapshotId{0, 0}.file_name())) || end_offset() > 0 || snapshot_;
}

Result<> RaftLog::mark() {
  return disk_.exists(path("partition.metadata"))
             ? Result<>()
             : disk_.replace_file(path("partition.metadata"),
                                  storage::format_partition_metadata(kMetadataTopicId));
}

Result<> RaftLog::format(std::string_view bootstrap) {
  TRY_VOID(disk_.replace_file(path(SnapshotId{0, 0}.file_name()), bootstrap));
  return mark();
}

int32_t RaftLog::last_epoch() const {
  const int32_t of_log = log_->epochs().latest();
  return std::max({of_log, snapshot_ ? snapshot_->epoch : 0, 0});
}

int32_t RaftLog::epoch_at(int64_t offset) const {
  const int32_t epoch = log_->epochs().epoch_at(offset);
  return epoch >= 0 ? epoch : snapshot_ ? snapshot_->epoch : 0;
}

storage::EpochStart RaftLog::end_of(int32_t epoch) const {
  if (end_offset() == 0 && epoch >= 0) {
    return {0, 0};
  }
  return log_->epochs().end_of(epoch, end_offset());
}

void RaftLog::note_control(const BatchView& batch) {
  if (!batch.is_control()) {
    return;
  }
  RecordIterator records(batch.body(), batch.count());
  while (true) {
    const auto record = records.next();
    if (!record || !*record) {
      return;
    }
    const RecordView& view = **record;
    if (!view.key || view.key->size() < 4 || !view.value) {
      continue;
    }
    const auto type = protocol::load<int16_t>(view.key->data() + 2);
    if (type == kKRaftVersion) {
      kraft_version_record_ = {Bytes::copy_of(*view.key), Bytes::copy_of(*view.value)};
    } else if (type == kVoters) {
      Reader in(Bytes::copy_of(*view.value));
      VotersRecord voters;
      voters.decode(in, 0);
      if (in.ok()) {
        voters_[batch.base_offset() + view.offset_delta] = VoterSet::from_record(voters);
      }
    }
  }
}

std::vector<std::pair<Bytes, Bytes>> RaftLog::voter_records(int64_t offset) const {
  std::vector<std::pair<Bytes, Bytes>> records;
  // It comes with the first voters, and goes with them when the log is cut.
  if (kraft_version_record_ && voters_.lower_bound(offset) != voters_.begin()) {
    records.push_back(*kraft_version_record_);
  }
  if (const auto behind = voters_.lower_bound(offset); behind != voters_.begin()) {
    records.push_back(control_record(kVoters, std::prev(behind)->second.to_record()));
  }
  return records;
}

Result<int64_t> RaftLog::append(const Bytes& batch, int32_t epoch) {
  const int64_t now = clock_.wall_ms();
  TRY(const auto info,
      log_->append_as_leader(batch, epoch, now, {storage::AppendOrigin::Writer::kQuorum}));
  if (auto flushed = log_->flush(now); !flushed) {
    (void)log_->truncate_to(info.base_offset);
    return std::unexpected(flushed.error());
  }
  TRY(const BatchView written, BatchView::parse(batch.span()));
  note_control(written);
  return info.base_offset;
}

Result<> RaftLog::append_fetched(const Bytes& records) {
  size_t at = 0;
  while (at < records.size()) {
    const auto batch = BatchView::parse(records.span().subspan(at));
    if (!batch) {
      break;  // cut off by the leader's size limit
    }
    if (!batch->crc_matches() || batch->base_offset() != end_offset()) {
      return fail(ErrorCode::kCorruptMessage, "the leader of the metadata quorum sent a batch at " +
                                                  std::to_string(batch->base_offset()) +
                                                  " that does not follow " +
                                                  std::to_string(end_offset()));
    }
    TRY_VOID(log_->append_as_follower(records.slice(at, batch->size()), clock_.wall_ms()));
    note_control(*batch);
    at += batch->size();
  }
  return log_->flush(clock_.wall_ms());
}

Result<> RaftLog::truncate_to(int64_t offset) {
  TRY_VOID(log_->truncate_to(offset));
  voters_.erase(voters_.lower_bound(end_offset()), voters_.end());
  return log_->flush(clock_.wall_ms());
}

Result<Payload> RaftLog::read(int64_t offset, size_t size_max) {
  return log_->read(offset, size_max, end_offset(), true);
}

Result<std::string> RaftLog::read_snapshot(const SnapshotId& id) {
  return disk_.read_file(path(id.file_name()));
}

Result<> RaftLog::visit_snapshot(const SnapshotId& id,
                                 const std::function<Result<>(const BatchView&)>& visit) {
  TRY(const std::string content, read_snapshot(id));
  std::span<const uint8_t> left(reinterpret_cast<const uint8_t*>(content.data()), content.size());
  while (!left.empty()) {
    TRY(const BatchView batch, BatchView::parse(left));
    if (!batch.crc_matches()) {
      return fail(ErrorCode::kCorruptMessage,
                  "the metadata snapshot " + id.file_name() + " is damaged");
    }
    TRY_VOID(visit(batch));
    left = left.subspan(batch.size());
  }
  return {};
}

Result<> RaftLog::write_snapshot(const SnapshotId& id, std::string_view content) {
  TRY_VOID(disk_.replace_file(path(id.file_name()), content));
  snapshot_ = id;
  return {};
}

Result<> RaftLog::begin_behind_snapshot() {
  CHECK_INVARIANT(snapshot_.has_value());
  TRY_VOID(log_->begin_again_at(snapshot_->end_offset));
  log_->begin_epoch(snapshot_->epoch);
  voters_.clear();
  kraft_version_record_.reset();
  TRY_VOID(visit_snapshot(*snapshot_, [this](const BatchView& batch) {
    note_control(batch);
    return Result<>();
  }));
  return log_->flush(clock_.wall_ms());
}

// The newest snapshot stays, and the log from the oldest that stays on; what is older goes when
// everything together is too much or when it is too old.
Result<> RaftLog::clean_up(int64_t committed) {
  struct Found {
    SnapshotId id;
    uint64_t size;
  };
  const int64_t now = clock_.wall_ms();
  std::vector<Found> snapshots;
  uint64_t total = log_->size();
  TRY(const auto names, disk_.list(options_.folder));
  for (const auto& name : names) {
    if (const auto id = SnapshotId::parse(name)) {
      TRY(const uint64_t size, disk_.size_of(path(name)));
      snapshots.push_back({*id, size});
      total += size;
    }
  }
  std::sort(snapshots.begin(), snapshots.end(),
            [](const Found& a, const Found& b) { return a.id < b.id; });
  for (size_t i = 0; i + 1 < snapshots.size(); ++i) {
    TRY(const auto kept, log_->find_timestamp(now - options_.retention_ms));
    const bool is_old = kept.offset < 0 || snapshots[i + 1].id.end_offset <= kept.offset;
    if (total <= static_cast<uint64_t>(options_.retention_bytes) && !is_old) {
      break;
    }
    TRY_VOID(log_->advance_start(snapshots[i + 1].id.end_offset, now));
    TRY_VOID(disk_.remove(path(snapshots[i].id.file_name())));
    total -= snapshots[i].size;
  }
  return log_->housekeep(committed, now, INT64_MAX / 2);
}

}  // namespace klamm::replication
