#include "replication/raft/quorum.h"

#include <algorithm>

#include "protocol/generated/begin_transaction_record.h"
#include "protocol/generated/config_record.h"
#include "protocol/generated/end_transaction_record.h"
#include "protocol/generated/feature_level_record.h"
#include "protocol/generated/k_raft_version_record.h"
#include "protocol/generated/snapshot_footer_record.h"
#include "protocol/generated/snapshot_header_record.h"
#include "replication/metadata/features.h"
#include "replication/metadata/snapshot.h"

namespace klamm::replication {

using namespace protocol;

namespace {

constexpr size_t kSnapshotBatch = 500;  // records

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

// The snapshot 0-0: header, the voters if they are to stand in the log, one record per feature,
// footer.
std::string bootstrap_snapshot(const VoterSet& voters, int64_t now_ms) {
  std::vector<std::pair<Bytes, Bytes>> head{
      control_record(kSnapshotHeader, SnapshotHeaderRecord{})};
  if (!voters.empty()) {
    KRaftVersionRecord version;
    version.k_raft_version = 1;
    head.push_back(control_record(kKRaftVersion, version));
    head.push_back(control_record(kVoters, voters.to_record()));
  }
  const std::vector<Bytes> features = feature_records();
  const auto at = static_cast<int64_t>(head.size());
  const Bytes header = control_batch(head, 0, now_ms);
  const Bytes data = data_batch(features, at, 0, now_ms);
  const Bytes footer = control_batch(kSnapshotFooter, SnapshotFooterRecord{},
                                     at + static_cast<int64_t>(features.size()), 0, now_ms);
  std::string content;
  for (const Bytes* batch : {&header, &data, &footer}) {
    content += batch->view();
  }
  return content;
}

}  // namespace

Result<std::unique_ptr<Quorum>> Quorum::open(storage::Disk& disk, const storage::Clock& clock,
                                             storage::Random& random, Transport& transport,
                                             const QuorumOptions& options) {
  std::unique_ptr<Quorum> quorum(new Quorum(clock, options));
  TRY(quorum->log_, RaftLog::open(disk, clock, options.log));
  if (!quorum->log_->is_formatted()) {
    TRY_VOID(quorum->log_->format(bootstrap_snapshot({}, clock.wall_ms())));
  }
  TRY_VOID(quorum->log_->mark());
  quorum->last_snapshot_ms_ = clock.wall_ms();
  if (quorum->log_->snapshot()) {
    TRY_VOID(quorum->load_snapshot(*quorum->log_->snapshot()));
  }
  quorum->file_ = std::make_unique<ElectionFile>(disk, options.log.folder);
  quorum->raft_ = std::make_shared<Raft>(options.raft, *quorum->log_, *quorum->file_, transport,
                                         clock, random, static_cast<RaftListener&>(*quorum));
  TRY_VOID(quorum->raft_->start());
  if (quorum->failure_) {
    return std::unexpected(*quorum->failure_);
  }
  return quorum;
}

Result<> Quorum::format(storage::Disk& disk, const storage::Clock& clock,
                        const RaftLogOptions& options, const VoterSet& voters) {
  TRY(const auto log, RaftLog::open(disk, clock, options));
  return log->format(bootstrap_snapshot(voters, clock.wall_ms()));
}

Result<> Quorum::load_snapshot(const SnapshotId& id) {
  Delta delta{MetadataImage()};
  TRY_VOID(
      log_->visit_snapshot(id, [&](const BatchView& batch) { return replay_batch(delta, batch); }));
  applied_ = id.end_offset;
  bytes_since_snapshot_ = 0;
  image_ = delta.build();
  return {};
}

Result<> Quorum::replay_batch(Delta& delta, const BatchView& batch) {
  if (batch.is_control()) {
    return {};
  }
  RecordIterator records(batch.body(), batch.count());
  while (true) {
    TRY(const auto record, records.next());
    if (!record) {
      return {};
    }
    if (record->value) {
      TRY_VOID(delta.apply(Bytes::copy_of(*record->value),
                           batch.base_offset() + record->offset_delta, batch.leader_epoch()));
    }
  }
}

Result<> Quorum::replay_to(int64_t end) {
  if (applied_ >= end) {
    return {};
  }
  Delta delta(*image_);
  Result<> status;
  bool changed = false;
  TRY_VOID(log_->visit(std::max(applied_, log_->start_offset()), [&](const BatchView& batch) {
    if (batch.base_offset() >= end) {
      return false;
    }
    changed = changed || !batch.is_control();
    bytes_since_snapshot_ += batch.size();
    status = replay_batch(delta, batch);
    return status.has_value();
  }));
  TRY_VOID(std::move(status));
  applied_ = end;
  if (changed) {
    publish(delta.build());
  }
  return {};
}

void Quorum::publish(ImagePtr image) {
  const ImagePtr before = std::exchange(image_, std::move(image));
  if (observer_) {
    observer_(before, image_);
  }
}

void Quorum::on_committed(int64_t high_watermark) {
  if (const auto done = replay_to(
          pending_.empty() ? high_watermark : std::min(high_watermark, pending_.front().base));
      !done) {
    return on_failure(done.error());
  }
  while (!pending_.empty() && pending_.front().end <= high_watermark) {
    Pending next = std::move(pending_.front());
    pending_.pop_front();
    applied_ = std::max(applied_, next.end);
    bytes_since_snapshot_ += next.size;
    publish(std::move(next.image));
    for (Committed& done : next.waiting) {
      done({});
    }
  }
  if (raft_ != nullptr && raft_->is_leader() && !active_) {
    activate();
  }
  take_snapshot_if_due();
}

// Everything of former epochs has been replayed.
void Quorum::activate() {
  active_ = true;
  working_image_ = image_;
  if (image_->features.empty()) {
    if (const auto done = append(bootstrap_records()); !done) {
      return on_failure(done.error());
    }
  }
  on_leadership_();
}

void Quorum::on_role(RaftRole role, int32_t, int32_t) {
  if (role != RaftRole::kLeader && std::exchange(active_, false)) {
    working_image_.reset();
    auto lost = std::exchange(pending_, {});
    for (Pending& pending : lost) {
      for (Committed& done : pending.waiting) {
        done(fail(ErrorCode::kNotController, "this controller has lost its leadership"));
      }
    }
  }
  on_leadership_();
}

void Quorum::on_snapshot(const SnapshotId& id) {
  const ImagePtr before = image_;
  if (const auto done = load_snapshot(id); !done) {
    return on_failure(done.error());
  }
  publish(std::exchange(image_, before));
}

void Quorum::on_failure(const Error& error) {
  failure_ = error;
  on_fatal_(error);
}

void Quorum::when_committed(Committed done) {
  if (pending_.empty()) {
    return done({});
  }
  pending_.back().waiting.push_back(std::move(done));
}

Result<int64_t> Quorum::append(const std::vector<Bytes>& records) {
  if (!active_) {
    return fail(ErrorCode::kNotController, "this node is not the active controller");
  }
  const int64_t base = end_offset();
  if (records.empty()) {
    return base;
  }
  const int64_t now = clock_.wall_ms();
  Delta delta(*working_image_);
  uint64_t size = 0;
  for (size_t i = 0; i < records.size(); ++i) {
    TRY_VOID(delta.apply(records[i], base + static_cast<int64_t>(i), raft_->epoch()));
    size += records[i].size();
  }
  working_image_ = delta.build();
  pending_.push_back({base, base + static_cast<int64_t>(records.size()), size, working_image_, {}});
  auto at = raft_->append(data_batch(records, 0, raft_->epoch(), now));
  if (!at) {
    pending_.pop_back();
    working_image_ = pending_.empty() ? image_ : pending_.back().image;
  }
  return at;
}

void Quorum::take_snapshot_if_due() {
  const bool is_due = bytes_since_snapshot_ >= static_cast<uint64_t>(options_.snapshot_bytes) ||
                      (bytes_since_snapshot_ > 0 &&
                       clock_.wall_ms() - last_snapshot_ms_ >= options_.snapshot_interval_ms);
  if (is_due) {
    // The records are committed whether or not there is room for a snapshot; the next one tries
    // again.
    (void)write_snapshot();
  }
}

// Header, who votes, the image, footer (KIP-630).
std::string Quorum::snapshot_content(int64_t now_ms) const {
  std::string content;
  int64_t offset = 0;
  const int32_t epoch = log_->epoch_at(applied_ - 1);
  const auto add = [&](const Bytes& batch) {
    content += batch.view();
    offset = BatchView::parse(batch.span())->next_offset();
  };
  SnapshotHeaderRecord header;
  header.last_contained_log_timestamp = now_ms;
  add(control_batch(kSnapshotHeader, header, offset, epoch, now_ms));
  for (const auto& [key, value] : log_->voter_records(applied_)) {
    add(control_batch(key.span(), value.span(), offset, epoch, now_ms));
  }
  const std::vector<Bytes> records = to_records(*image_);
  for (size_t i = 0; i < records.size(); i += kSnapshotBatch) {
    const auto begin = records.begin() + static_cast<ptrdiff_t>(i);
    const auto end = begin + static_cast<ptrdiff_t>(std::min(kSnapshotBatch, records.size() - i));
    add(data_batch({begin, end}, offset, epoch, now_ms));
  }
  add(control_batch(kSnapshotFooter, SnapshotFooterRecord{}, offset, epoch, now_ms));
  return content;
}

Result<> Quorum::write_snapshot() {
  const int64_t now = clock_.wall_ms();
  const SnapshotId id{applied_, log_->epoch_at(applied_ - 1)};
  TRY_VOID(log_->write_snapshot(id, snapshot_content(now)));
  bytes_since_snapshot_ = 0;
  last_snapshot_ms_ = now;
  return log_->clean_up(applied_);
}

}  // namespace klamm::replication
