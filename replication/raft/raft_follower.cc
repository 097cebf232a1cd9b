// Fetching the metadata log: finding the leader, taking over its records, cutting off what it does
// not have, and beginning again from its snapshot.
#include <algorithm>

#include "replication/raft/raft.h"
#include "replication/raft/raft_requests.h"

namespace klamm::replication {

using namespace protocol;

namespace {

constexpr int32_t kFetchWaitMs = 500;
constexpr int32_t kFetchSizeMax = 8 << 20;
constexpr int64_t kSnapshotSizeMax = int64_t{4} << 30;
constexpr int64_t kGoneRetryMs = 50;

Result<> check_content(std::string_view content) {
  std::span<const uint8_t> left(reinterpret_cast<const uint8_t*>(content.data()), content.size());
  while (!left.empty()) {
    TRY(const BatchView batch, BatchView::parse(left));
    if (!batch.crc_matches()) {
      return fail(ErrorCode::kCorruptMessage, "the leader sent a damaged snapshot");
    }
    left = left.subspan(batch.size());
  }
  return {};
}

}  // namespace

void Raft::fetch_next() {
  if (fetching_ || (role_ != RaftRole::kFollower && role_ != RaftRole::kUnattached)) {
    next_fetch_ms_ = INT64_MAX;
    return;
  }
  if (wanted_snapshot_) {
    return fetch_snapshot_piece();
  }
  std::vector<Address> places;
  if (role_ == RaftRole::kFollower) {
    if (const Address* const leader = leader_address()) {
      places.push_back(*leader);
    }
  }
  if (places.empty()) {
    places = options_.bootstrap;
    for (const auto& [id, voter] : voters().all()) {
      if (id != options_.self.id && voter.address() != nullptr) {
        places.push_back(*voter.address());
      }
    }
    for (const auto& [name, own] : options_.listeners) {
      std::erase(places, own);
    }
  }
  if (places.empty()) {
    next_fetch_ms_ = INT64_MAX;
    return;
  }
  FetchRequest request;
  request.cluster_id = options_.cluster_id;
  request.replica_state.replica_id = options_.self.id;
  request.max_wait_ms = kFetchWaitMs;
  request.max_bytes = kFetchSizeMax;
  request.topics = {{.topic_id = kMetadataTopicId,
                     .partitions = {{.current_leader_epoch = state_.epoch,
                                     .fetch_offset = log_.end_offset(),
                                     .last_fetched_epoch = log_.last_epoch(),
                                     .log_start_offset = log_.start_offset(),
                                     .replica_directory_id = options_.self.directory,
                                     .high_watermark = high_watermark_}}}};
  fetching_ = true;
  next_fetch_ms_ = INT64_MAX;
  constexpr int16_t kVersionWithDirectory = 17;
  const Address to = places[next_bootstrap_++ % places.size()];
  call<FetchResponse>(
      transport_, to, std::move(request), options_.request_timeout_ms,
      [weak = weak_from_this(), to, epoch = state_.epoch](Result<FetchResponse> answer) {
        if (const auto self = weak.lock()) {
          self->on_fetched(to, epoch, std::move(answer));
        }
      },
      kVersionWithDirectory);
}

void Raft::heard_from_leader() {
  if (!leader_ended_) {
    fetched_ = true;
    role_deadline_ms_ = clock_.monotonic_ms() + options_.fetch_timeout_ms;
  }
}

void Raft::back_off(ErrorCode why) {
  const int64_t now = clock_.monotonic_ms();
  backoff_ms_ = std::clamp(backoff_ms_ * 2, options_.retry_backoff_ms, int64_t{1000});
  next_fetch_ms_ = now + backoff_ms_;
  // The leader's process is gone. The others are asked whether they think so too; while one of a
  // majority still hears from it nothing changes.
  if (why == ErrorCode::kNetworkException && role_ == RaftRole::kFollower) {
    const auto wait = static_cast<int64_t>(random_.next() % static_cast<uint64_t>(kGoneRetryMs));
    role_deadline_ms_ = std::min(role_deadline_ms_, now + wait);
    fetched_ = false;
  }
}

void Raft::on_fetched(const Address& from, int32_t epoch, Result<FetchResponse> answer) {
  fetching_ = false;
  if (broken_) {
    return;
  }
  const Address* const leader = leader_address();
  const bool is_of_leader = role_ == RaftRole::kFollower && leader != nullptr && from == *leader;
  if (!answer || answer->error_code != ErrorCode::kNone) {
    if (role_ != RaftRole::kFollower || is_of_leader) {
      back_off(answer ? answer->error_code : answer.error().code);
    }
    return;
  }
  const auto* const partition = only_partition(answer->responses);
  if (partition == nullptr) {
    return back_off(ErrorCode::kInvalidRequest);
  }
  learn(partition->current_leader.leader_epoch, partition->current_leader.leader_id,
        answer->node_endpoints);
  if (role_ != RaftRole::kFollower && role_ != RaftRole::kUnattached) {
    return;
  }
  const bool is_usable = partition->error_code == ErrorCode::kNone && epoch == state_.epoch &&
                         role_ == RaftRole::kFollower &&
                         partition->current_leader.leader_id == state_.leader;
  if (!is_usable) {
    // A new leader was learnt and is asked at once, or nobody was.
    if (next_fetch_ms_ == INT64_MAX) {
      back_off(partition->error_code);
    }
    return;
  }
  backoff_ms_ = 0;
  heard_from_leader();
  next_fetch_ms_ = clock_.monotonic_ms();
  take_records(*partition);
  if (!broken_) {
    fetch_next();
  }
}

void Raft::take_records(const fetch_response::PartitionData& partition) {
  if (partition.snapshot_id.end_offset >= 0) {
    wanted_snapshot_ = {partition.snapshot_id.end_offset, partition.snapshot_id.epoch};
    snapshot_.clear();
    return;
  }
  Result<> done;
  if (partition.diverging_epoch.epoch >= 0) {
    const auto ours = log_.end_of(partition.diverging_epoch.epoch);
    int64_t to = ours.epoch < 0 ? log_.start_offset() : ours.start_offset;
    if (ours.epoch == partition.diverging_epoch.epoch) {
      to = std::min(to, partition.diverging_epoch.end_offset);
    }
    if (to < high_watermark_) {
      return failed({ErrorCode::kCorruptMessage,
                     "the leader of the metadata quorum lacks records that were committed: it "
                     "wants the log cut to " +
                         std::to_string(to) + ", below " + std::to_string(high_watermark_)});
    }
    done = log_.truncate_to(to);
  } else {
    const Bytes records = partition.records ? partition.records->bytes() : Bytes();
    if (!records.empty()) {
      done = log_.append_fetched(records);
    }
  }
  if (!done) {
    return failed(done.error());
  }
  if (partition.diverging_epoch.epoch < 0) {
    set_high_watermark(std::min(partition.high_watermark, log_.end_offset()));
  }
}

void Raft::fetch_snapshot_piece() {
  const Address* const leader = leader_address();
  if (leader == nullptr || role_ != RaftRole::kFollower) {
    wanted_snapshot_.reset();
    return;
  }
  FetchSnapshotRequest request;
  request.cluster_id = options_.cluster_id;
  request.replica_id = options_.self.id;
  request.max_bytes = kFetchSizeMax;
  request.topics = {
      {.name = kMetadataTopic,
       .partitions = {{.current_leader_epoch = state_.epoch,
                       .snapshot_id = {wanted_snapshot_->end_offset, wanted_snapshot_->epoch},
                       .position = static_cast<int64_t>(snapshot_.size()),
                       .replica_directory_id = options_.self.directory}}}};
  fetching_ = true;
  next_fetch_ms_ = INT64_MAX;
  constexpr int16_t kVersionWithDirectory = 1;
  call<FetchSnapshotResponse>(
      transport_, *leader, std::move(request), options_.request_timeout_ms,
      [weak = weak_from_this(), epoch = state_.epoch](Result<FetchSnapshotResponse> answer) {
        if (const auto self = weak.lock()) {
          self->on_snapshot_piece(epoch, std::move(answer));
        }
      },
      kVersionWithDirectory);
}

void Raft::on_snapshot_piece(int32_t epoch, Result<FetchSnapshotResponse> answer) {
  fetching_ = false;
  if (broken_) {
    return;
  }
  const auto* const piece = answer ? only_partition(answer->topics) : nullptr;
  if (piece != nullptr) {
    learn(piece->current_leader.leader_epoch, piece->current_leader.leader_id,
          answer->node_endpoints);
  }
  const auto give_up = [this](ErrorCode why) {
    wanted_snapshot_.reset();
    back_off(why);
  };
  if (role_ != RaftRole::kFollower || !wanted_snapshot_ || epoch != state_.epoch) {
    return;
  }
  if (piece == nullptr) {
    return give_up(answer ? answer->error_code : answer.error().code);
  }
  const Bytes bytes = piece->unaligned_records.bytes();
  if (piece->error_code != ErrorCode::kNone || bytes.empty() ||
      piece->position != static_cast<int64_t>(snapshot_.size()) || piece->size > kSnapshotSizeMax) {
    return give_up(piece->error_code);
  }
  heard_from_leader();
  next_fetch_ms_ = clock_.monotonic_ms();
  snapshot_ += bytes.view();
  if (static_cast<int64_t>(snapshot_.size()) >= piece->size) {
    const SnapshotId id = *std::exchange(wanted_snapshot_, std::nullopt);
    const std::string content = std::exchange(snapshot_, {});
    if (!check_content(content)) {
      return back_off(ErrorCode::kCorruptMessage);
    }
    Result<> done = log_.write_snapshot(id, content);
    done = done ? log_.begin_behind_snapshot() : done;
    if (!done) {
      return failed(done.error());
    }
    high_watermark_ = std::max(high_watermark_, id.end_offset);
    listener_.on_snapshot(id);
  }
  fetch_next();
}

}  // namespace klamm::replication
