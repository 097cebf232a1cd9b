#include "replication/raft/quorum.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "protocol/generated/begin_transaction_record.h"
#include "protocol/generated/config_record.h"
#include "protocol/generated/end_transaction_record.h"
#include "protocol/generated/feature_level_record.h"
#include "protocol/generated/leader_change_message.h"
#include "protocol/generated/snapshot_footer_record.h"
#include "protocol/generated/snapshot_header_record.h"
#include "protocol/generated/voters_record.h"
#include "protocol/records/builder.h"
#include "replication/metadata/features.h"
#include "replication/metadata/snapshot.h"
#include "storage/checkpoint.h"

namespace klamm::replication {

using namespace protocol;

namespace {

constexpr const char* kQuorumState = "quorum-state";
constexpr int16_t kLeaderChange = 2;
constexpr int16_t kSnapshotHeader = 3;
constexpr int16_t kSnapshotFooter = 4;
constexpr int16_t kKRaftVersion = 5;
constexpr int16_t kVoters = 6;
constexpr size_t kSnapshotBatch = 500;  // records

template <class R>
Bytes control_batch(int16_t type, const R& record, int64_t base_offset, int32_t epoch,
                    int64_t now_ms) {
  Writer key;
  key.fixed<int16_t>(0);
  key.fixed(type);
  Writer value;
  record.encode(value, 0);
  BatchBuilder builder({.base_offset = base_offset, .leader_epoch = epoch, .control = true});
  builder.add(now_ms, key.head(), value.head());
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

std::vector<Bytes> feature_records() {
  std::vector<Bytes> records;
  for (const Feature& feature : kFeatures) {
    if (feature.level_new > 0) {
      FeatureLevelRecord record;
      record.name = feature.name;
      record.feature_level = feature.level_new;
      records.push_back(to_record(record, 0));
    }
  }
  return records;
}

// The first records of a new log, one transaction.
std::vector<Bytes> bootstrap_records() {
  std::vector<Bytes> records = feature_records();
  BeginTransactionRecord begin;
  begin.name = "Bootstrap records";
  records.insert(records.begin(), to_record(begin, 0));
  // With eligible leader replicas the cluster-wide minimum must stand in the log.
  ConfigRecord min_isr;
  min_isr.resource_type = static_cast<int8_t>(ConfigResource::kBroker);
  min_isr.name = "min.insync.replicas";
  min_isr.value = "1";
  records.push_back(to_record(min_isr, 0));
  records.push_back(to_record(EndTransactionRecord{}, 0));
  return records;
}

// `<offset:20>-<epoch:10>.checkpoint` -> {offset, epoch}.
std::optional<std::pair<int64_t, int32_t>> parse_snapshot_name(const std::string& name) {
  int64_t offset = 0;
  int32_t epoch = 0;
  if (name.size() != 42 || !name.ends_with(".checkpoint") || name[20] != '-' ||
      std::from_chars(name.data(), name.data() + 20, offset).ptr != name.data() + 20 ||
      std::from_chars(name.data() + 21, name.data() + 31, epoch).ptr != name.data() + 31) {
    return std::nullopt;
  }
  return std::pair{offset, epoch};
}

}  // namespace

Result<std::unique_ptr<Quorum>> Quorum::open(storage::Disk& disk, const storage::Clock& clock,
                                             const QuorumOptions& options) {
  std::unique_ptr<Quorum> quorum(new Quorum(disk, clock, options));
  TRY_VOID(disk.make_dirs(options.folder));
  if (!disk.exists(quorum->path("partition.metadata"))) {
    TRY_VOID(quorum->format());
  }
  storage::LogConfig config;
  config.retention_ms = -1;
  config.max_message_bytes = 8 << 20;
  config.segment_bytes = options.segment_bytes;
  TRY(quorum->log_, storage::Log::open(disk, options.folder, config,
                                       {.clean = options.clean, .now_ms = clock.wall_ms()}));
  quorum->last_snapshot_ms_ = clock.wall_ms();
  TRY_VOID(quorum->replay());
  TRY_VOID(quorum->elect());
  return quorum;
}

// The bootstrap snapshot 0-0: header, one record per feature, footer.
Result<> Quorum::format() {
  const int64_t now = clock_.wall_ms();
  const std::vector<Bytes> features = feature_records();
  const Bytes header = control_batch(kSnapshotHeader, SnapshotHeaderRecord{}, 0, 0, now);
  const Bytes data = data_batch(features, 1, 0, now);
  const Bytes footer = control_batch(kSnapshotFooter, SnapshotFooterRecord{},
                                     1 + static_cast<int64_t>(features.size()), 0, now);
  std::string content;
  for (const Bytes* batch : {&header, &data, &footer}) {
    content += batch->view();
  }
  TRY_VOID(disk_.replace_file(path("00000000000000000000-0000000000.checkpoint"), content));
  return disk_.replace_file(path("partition.metadata"),
                            storage::format_partition_metadata(kMetadataTopicId));
}

Result<> Quorum::replay() {
  std::pair<int64_t, int32_t> newest{-1, -1};
  std::string newest_name;
  TRY(const auto names, disk_.list(options_.folder));
  for (const auto& name : names) {
    const auto id = parse_snapshot_name(name);
    if (id && *id > newest) {
      newest = *id;
      newest_name = name;
    }
  }
  // The bootstrap snapshot 0-0 only says what the first leader writes into an empty log.
  if (newest.first > 0) {
    TRY_VOID(replay_snapshot(newest_name));
  }
  snapshot_end_ = std::max<int64_t>(newest.first, 0);
  Delta delta(*image_);
  Result<> status;
  TRY_VOID(log_->visit(std::max<int64_t>(snapshot_end_, log_->start_offset()),
                       [&](const BatchView& batch) {
                         bytes_since_snapshot_ += batch.size();
                         status = replay_batch(delta, batch);
                         return status.has_value();
                       }));
  TRY_VOID(std::move(status));
  image_ = delta.build();
  return {};
}

Result<> Quorum::replay_snapshot(const std::string& name) {
  TRY(const std::string content, disk_.read_file(path(name)));
  std::span<const uint8_t> left(reinterpret_cast<const uint8_t*>(content.data()), content.size());
  Delta delta(*image_);
  while (!left.empty()) {
    TRY(const BatchView batch, BatchView::parse(left));
    if (!batch.crc_matches()) {
      return fail(ErrorCode::kCorruptMessage, "the metadata snapshot " + name + " is damaged");
    }
    TRY_VOID(replay_batch(delta, batch));
    left = left.subspan(batch.size());
  }
  image_ = delta.build();
  return {};
}

Result<> Quorum::replay_batch(Delta& delta, const BatchView& batch) {
  RecordIterator records(batch.body(), batch.count());
  epoch_ = std::max(epoch_, batch.leader_epoch());
  while (true) {
    TRY(const auto record, records.next());
    if (!record) {
      return {};
    }
    if (batch.is_control()) {
      TRY_VOID(check_voters(*record));
    } else if (record->value) {
      TRY_VOID(delta.apply(Bytes::copy_of(*record->value),
                           batch.base_offset() + record->offset_delta, batch.leader_epoch()));
    }
  }
}

Result<> Quorum::check_voters(const RecordView& record) {
  if (record.key && record.key->size() >= 4 && record.value) {
    const auto type = load<int16_t>(record.key->data() + 2);
    if (type == kKRaftVersion || type == kVoters) {
      voter_records_[type] = {Bytes::copy_of(*record.key), Bytes::copy_of(*record.value)};
    }
  }
  if (!record.key || record.key->size() < 4 || load<int16_t>(record.key->data() + 2) != kVoters ||
      !record.value) {
    return {};
  }
  Reader in(Bytes::copy_of(*record.value));
  VotersRecord voters;
  voters.decode(in, 0);
  if (!in.ok() || voters.voters.size() != 1 || voters.voters[0].voter_id != options_.node_id) {
    return fail(ErrorCode::kKafkaStorageError,
                "the metadata quorum on disk has other voters than node " +
                    std::to_string(options_.node_id) + "; this version runs a quorum of one");
  }
  return {};
}

Result<> Quorum::elect() {
  nlohmann::ordered_json state;
  if (disk_.exists(path(kQuorumState))) {
    TRY(const std::string text, disk_.read_file(path(kQuorumState)));
    state = nlohmann::ordered_json::parse(text, nullptr, false);
    if (!state.is_object()) {
      return fail(ErrorCode::kKafkaStorageError, path(kQuorumState) + " is not JSON");
    }
    epoch_ = std::max(epoch_, state.value("leaderEpoch", 0));
  } else {
    const auto voters = nlohmann::ordered_json::array({{{"voterId", options_.node_id}}});
    state = {{"clusterId", ""},    {"leaderId", -1},          {"leaderEpoch", 0}, {"votedId", -1},
             {"appliedOffset", 0}, {"currentVoters", voters}, {"data_version", 0}};
  }
  ++epoch_;
  state["leaderId"] = options_.node_id;
  state["leaderEpoch"] = epoch_;
  state["votedId"] = -1;
  if (state.contains("votedDirectoryId")) {
    state["votedDirectoryId"] = Uuid{}.to_string();
  }
  TRY_VOID(disk_.replace_file(path(kQuorumState), state.dump()));
  const bool is_new = log_->end_offset() == 0;
  TRY_VOID(append_leader_change());
  if (is_new) {
    TRY_VOID(append(bootstrap_records()));
  }
  return {};
}

Result<> Quorum::append_leader_change() {
  LeaderChangeMessage message;
  message.leader_id = options_.node_id;
  message.voters.push_back({.voter_id = options_.node_id});
  message.granting_voters = message.voters;
  const int64_t now = clock_.wall_ms();
  TRY(const auto info, log_->append_as_leader(control_batch(kLeaderChange, message, 0, epoch_, now),
                                              epoch_, now, false));
  (void)info;
  return {};  // the registration that follows brings it to the medium
}

Result<int64_t> Quorum::append(const std::vector<Bytes>& records) {
  if (records.empty()) {
    return end_offset();
  }
  const int64_t now = clock_.wall_ms();
  const int64_t base = end_offset();
  Delta delta(*image_);
  for (size_t i = 0; i < records.size(); ++i) {
    TRY_VOID(delta.apply(records[i], base + static_cast<int64_t>(i), epoch_));
  }
  TRY(const auto info,
      log_->append_as_leader(data_batch(records, 0, epoch_, now), epoch_, now, false));
  (void)info;
  TRY_VOID(log_->flush(now));
  const ImagePtr before = std::exchange(image_, delta.build());
  if (observer_) {
    observer_(before, image_);
  }
  for (const Bytes& record : records) {
    bytes_since_snapshot_ += record.size();
  }
  if (snapshot_is_due(now)) {
    // The records are committed whether or not there is room for a snapshot; the next one tries
    // again.
    (void)write_snapshot();
  }
  return base;
}

bool Quorum::snapshot_is_due(int64_t now_ms) const {
  return bytes_since_snapshot_ >= static_cast<uint64_t>(options_.snapshot_bytes) ||
         now_ms - last_snapshot_ms_ >= options_.snapshot_interval_ms;
}

// Header, who votes, the image, footer (KIP-630).
std::string Quorum::snapshot_content(int64_t now_ms) const {
  std::string content;
  int64_t offset = 0;
  const auto add = [&](const Bytes& batch) {
    content += batch.view();
    offset = BatchView::parse(batch.span())->next_offset();
  };
  SnapshotHeaderRecord header;
  header.last_contained_log_timestamp = now_ms;
  add(control_batch(kSnapshotHeader, header, offset, epoch_, now_ms));
  for (const auto& [type, record] : voter_records_) {
    BatchBuilder builder({.base_offset = offset, .leader_epoch = epoch_, .control = true});
    builder.add(now_ms, record.first.span(), record.second.span());
    add(builder.build());
  }
  const std::vector<Bytes> records = to_records(*image_);
  for (size_t i = 0; i < records.size(); i += kSnapshotBatch) {
    const auto begin = records.begin() + static_cast<ptrdiff_t>(i);
    const auto end = begin + static_cast<ptrdiff_t>(std::min(kSnapshotBatch, records.size() - i));
    add(data_batch({begin, end}, offset, epoch_, now_ms));
  }
  add(control_batch(kSnapshotFooter, SnapshotFooterRecord{}, offset, epoch_, now_ms));
  return content;
}

Result<> Quorum::write_snapshot() {
  const int64_t now = clock_.wall_ms();
  const int64_t end = end_offset();
  char name[64];
  std::snprintf(name, sizeof name, "%020lld-%010d.checkpoint", static_cast<long long>(end), epoch_);
  TRY_VOID(disk_.replace_file(path(name), snapshot_content(now)));
  snapshot_end_ = end;
  bytes_since_snapshot_ = 0;
  last_snapshot_ms_ = now;
  return clean_up(now);
}

// The newest snapshot stays, and the log from the oldest that stays on; what is older goes when
// everything together is too much or when it is too old.
Result<> Quorum::clean_up(int64_t now_ms) {
  struct Found {
    std::pair<int64_t, int32_t> id;
    std::string name;
    uint64_t size;
  };
  std::vector<Found> snapshots;
  uint64_t total = log_->size();
  TRY(const auto names, disk_.list(options_.folder));
  for (const auto& name : names) {
    if (const auto id = parse_snapshot_name(name)) {
      TRY(const uint64_t size, disk_.size_of(path(name)));
      snapshots.push_back({*id, name, size});
      total += size;
    }
  }
  std::sort(snapshots.begin(), snapshots.end(),
            [](const Found& a, const Found& b) { return a.id < b.id; });
  for (size_t i = 0; i + 1 < snapshots.size(); ++i) {
    TRY(const auto kept, log_->find_timestamp(now_ms - options_.retention_ms));
    const bool is_old = kept.offset < 0 || snapshots[i + 1].id.first <= kept.offset;
    if (total <= static_cast<uint64_t>(options_.retention_bytes) && !is_old) {
      break;
    }
    TRY_VOID(log_->advance_start(snapshots[i + 1].id.first, now_ms));
    TRY_VOID(disk_.remove(path(snapshots[i].name)));
    total -= snapshots[i].size;
  }
  return log_->housekeep(end_offset(), now_ms, INT64_MAX / 2);
}

}  // namespace klamm::replication
