// The leader of the metadata quorum: serves fetches, knows who has what, and moves the high
// watermark.
#include <algorithm>

#include "protocol/generated/leader_change_message.h"
#include "replication/raft/raft.h"
#include "replication/raft/raft_requests.h"

namespace klamm::replication {

using namespace protocol;

namespace {

constexpr int16_t kVersionWithReplicaState = 15;
constexpr int16_t kVersionWithHighWatermark = 18;
constexpr size_t kFetchSizeMax = 8 << 20;
constexpr size_t kSnapshotPieceMax = 1 << 20;

ReplicaKey key_of(const FetchRequest& request, int16_t version) {
  const int32_t id =
      version >= kVersionWithReplicaState ? request.replica_state.replica_id : request.replica_id;
  return {id, request.topics[0].partitions[0].replica_directory_id};
}

}  // namespace

void Raft::become_leader() {
  const int64_t now = clock_.monotonic_ms();
  state_.leader = options_.self.id;
  state_.voted = {};
  if (!save()) {
    return;
  }
  leader_endpoints_ = options_.listeners;
  role_deadline_ms_ = voters().all().size() > 1 ? now + options_.fetch_timeout_ms : INT64_MAX;
  epoch_start_ = log_.end_offset();
  replicas_.clear();
  known_voters_ = voters().with(own_voter());
  for (const auto& [id, voter] : voters().all()) {
    Replica& replica = replicas_[voter.key];
    replica.last_fetch_ms = now;
    replica.next_begin_ms = id == options_.self.id || !voter.address() ? INT64_MAX : now;
  }
  LeaderChangeMessage message;
  message.leader_id = options_.self.id;
  const bool has_directories = log_.kraft_version() > 0;
  message.version = has_directories ? 1 : 0;
  for (const auto& [id, voter] : voters().all()) {
    message.voters.push_back({.voter_id = id, .voter_directory_id = voter.key.directory});
    if (granted_.contains(id)) {
      message.granting_voters.push_back(message.voters.back());
    }
  }
  const int64_t wall = clock_.wall_ms();
  const bool is_new = log_.end_offset() == 0;
  auto appended =
      log_.append(control_batch(kLeaderChange, message, 0, state_.epoch, wall), state_.epoch);
  // The voters that the directory was formatted with stand in the snapshot 0-0 alone so far.
  const auto formatted = log_.voter_records(INT64_MAX);
  for (size_t i = 0; is_new && appended && i < formatted.size(); ++i) {
    appended = log_.append(
        control_batch(formatted[i].first.span(), formatted[i].second.span(), 0, state_.epoch, wall),
        state_.epoch);
  }
  if (!appended) {
    return failed(appended.error());
  }
  set_role(RaftRole::kLeader);
  if (role_ == RaftRole::kLeader) {
    tell_voters();
    advance_high_watermark();
  }
}

void Raft::leave_leadership() {
  finish_voter_change(fail(ErrorCode::kNotLeaderOrFollower, "this node no longer leads"));
  serve_parked(true);
  replicas_.clear();
}

Result<int64_t> Raft::append(const Bytes& batch) {
  if (role_ != RaftRole::kLeader || broken_) {
    return fail(ErrorCode::kNotLeaderOrFollower, "this node does not lead the metadata quorum");
  }
  auto base = log_.append(batch, state_.epoch);
  if (!base) {
    // A full disk may have room again; everything else is the end.
    if (!storage::is_disk_full(base.error())) {
      failed(base.error());
    }
    return base;
  }
  advance_high_watermark();
  serve_parked(false);
  return base;
}

bool Raft::has_majority_contact() const {
  std::vector<int64_t> fetches;
  for (const auto& [id, voter] : voters().all()) {
    const auto found = replicas_.find(voter.key);
    if (id != options_.self.id) {
      fetches.push_back(found == replicas_.end() ? -1 : found->second.last_fetch_ms);
    }
  }
  const size_t needed = voters().majority() - (voters().contains(options_.self) ? 1 : 0);
  if (needed == 0 || fetches.size() < needed) {
    return true;
  }
  std::sort(fetches.begin(), fetches.end(), std::greater<>());
  return clock_.monotonic_ms() - fetches[needed - 1] <
         options_.fetch_timeout_ms + options_.fetch_timeout_ms / 2;
}

void Raft::set_high_watermark(int64_t offset) {
  if (offset > high_watermark_) {
    high_watermark_ = offset;
    listener_.on_committed(offset);
  }
}

// What a majority of the voters has is committed, once a record of this epoch is among it.
bool Raft::advance_high_watermark() {
  std::vector<int64_t> ends;
  for (const auto& [id, voter] : voters().all()) {
    const auto found = replicas_.find(voter.key);
    ends.push_back(id == options_.self.id     ? log_.end_offset()
                   : found == replicas_.end() ? -1
                                              : found->second.end_offset);
  }
  if (ends.empty()) {
    return false;
  }
  std::sort(ends.begin(), ends.end(), std::greater<>());
  const int64_t common = ends[voters().majority() - 1];
  if (common <= high_watermark_ || common <= epoch_start_) {
    return false;
  }
  set_high_watermark(common);
  advance_voter_change();
  return true;
}

void Raft::note_fetch(const ReplicaKey& key, int64_t offset) {
  // A static voter's key has no directory, the fetch may name one.
  ReplicaKey known = key;
  for (const auto& [id, voter] : voters().all()) {
    known = voter.key.matches(key) ? voter.key : known;
  }
  Replica& replica = replicas_[known];
  const int64_t now = clock_.wall_ms();
  const int64_t end = log_.end_offset();
  if (offset >= end) {
    replica.last_caught_up_wall_ms = now;
  } else if (replica.last_fetch_leader_end >= 0 && offset >= replica.last_fetch_leader_end) {
    replica.last_caught_up_wall_ms = replica.last_fetch_wall_ms;
  }
  replica.end_offset = std::max(replica.end_offset, offset);
  replica.last_fetch_ms = clock_.monotonic_ms();
  replica.last_fetch_wall_ms = now;
  replica.last_fetch_leader_end = end;
}

FetchResponse Raft::fetch_error(ErrorCode code) const {
  FetchResponse response;
  auto& topic = response.responses.emplace_back();
  topic.topic = kMetadataTopic;
  topic.topic_id = kMetadataTopicId;
  auto& partition = topic.partitions.emplace_back();
  partition.error_code = code;
  partition.high_watermark = high_watermark_;
  partition.log_start_offset = log_.start_offset();
  partition.current_leader = {state_.leader, state_.epoch};
  add_leader(response.node_endpoints, state_.leader, leader_address());
  return response;
}

// True when `response` is to be sent; false when there is nothing new.
bool Raft::try_fetch(const FetchRequest& request, int16_t version, bool last_try,
                     FetchResponse& response) {
  const auto& asked = request.topics[0].partitions[0];
  const auto refuse = [&](ErrorCode code) {
    response = fetch_error(code);
    return true;
  };
  if (asked.current_leader_epoch < state_.epoch && asked.current_leader_epoch >= 0) {
    return refuse(ErrorCode::kFencedLeaderEpoch);
  }
  if (asked.current_leader_epoch > state_.epoch) {
    return refuse(ErrorCode::kUnknownLeaderEpoch);
  }
  if (role_ != RaftRole::kLeader || broken_) {
    return refuse(ErrorCode::kNotLeaderOrFollower);
  }
  response = fetch_error(ErrorCode::kNone);
  auto& partition = response.responses[0].partitions[0];
  const auto& snapshot = log_.snapshot();
  const int64_t offset = asked.fetch_offset;
  const bool begins_empty = offset == 0 && asked.last_fetched_epoch <= 0;
  if (snapshot && (begins_empty || offset < log_.start_offset())) {
    partition.snapshot_id = {snapshot->end_offset, snapshot->epoch};
    return true;
  }
  const bool is_behind_snapshot =
      snapshot && offset == snapshot->end_offset && asked.last_fetched_epoch == snapshot->epoch;
  if (!begins_empty && !is_behind_snapshot) {
    const auto end = log_.end_of(asked.last_fetched_epoch);
    if (end.epoch < 0 && snapshot) {
      partition.snapshot_id = {snapshot->end_offset, snapshot->epoch};
      return true;
    }
    if (end.epoch != asked.last_fetched_epoch || end.start_offset < offset) {
      partition.diverging_epoch = {std::max(end.epoch, 0), std::max<int64_t>(end.start_offset, 0)};
      return true;
    }
  }
  const ReplicaKey key = key_of(request, version);
  if (key.id >= 0 && key.id != options_.self.id) {
    note_fetch(key, offset);
    if (voters().contains(key) && advance_high_watermark()) {
      partition.high_watermark = high_watermark_;
    }
  }
  if (offset < log_.end_offset()) {
    auto records = log_.read(offset, kFetchSizeMax);
    if (!records) {
      failed(records.error());
      return refuse(ErrorCode::kUnknownServerError);
    }
    partition.records = std::move(*records);
    return true;
  }
  return last_try ||
         (version >= kVersionWithHighWatermark && asked.high_watermark < high_watermark_);
}

void Raft::fetch(const FetchRequest& request, int16_t version, FetchReply reply) {
  const auto* const asked = only_partition(request.topics);
  const bool is_ours = asked != nullptr && (request.topics[0].topic == kMetadataTopic ||
                                            request.topics[0].topic_id == kMetadataTopicId);
  if (const ErrorCode refused =
          check_request(request.cluster_id, options_.cluster_id, is_ours ? asked : nullptr);
      refused != ErrorCode::kNone) {
    return reply({.error_code = refused});
  }
  FetchResponse response;
  const int64_t before = high_watermark_;
  const bool ready = try_fetch(request, version, request.max_wait_ms <= 0, response);
  if (ready) {
    reply(std::move(response));
  } else {
    parked_.push_back(
        {request, version, clock_.monotonic_ms() + request.max_wait_ms, std::move(reply)});
  }
  if (high_watermark_ > before) {
    serve_parked(false);
  }
}

void Raft::serve_parked(bool all) {
  const int64_t now = clock_.monotonic_ms();
  std::list<Parked> ready;
  for (auto parked = parked_.begin(); parked != parked_.end();) {
    const auto& asked = parked->request.topics[0].partitions[0];
    const bool has_news =
        asked.fetch_offset < log_.end_offset() ||
        (parked->version >= kVersionWithHighWatermark && asked.high_watermark < high_watermark_);
    const auto next = std::next(parked);
    if (all || has_news || now >= parked->deadline_ms) {
      ready.splice(ready.end(), parked_, parked);
    }
    parked = next;
  }
  for (Parked& parked : ready) {
    FetchResponse response;
    try_fetch(parked.request, parked.version, true, response);
    parked.reply(std::move(response));
  }
}

FetchSnapshotResponse Raft::fetch_snapshot(const FetchSnapshotRequest& request) {
  FetchSnapshotResponse response;
  const auto* const asked = only_partition(request.topics);
  if (const ErrorCode refused = check_request(request.cluster_id, options_.cluster_id, asked);
      refused != ErrorCode::kNone) {
    response.error_code = refused;
    return response;
  }
  response.topics = {{.name = kMetadataTopic, .partitions = {{}}}};
  auto& partition = response.topics[0].partitions[0];
  partition.snapshot_id = {asked->snapshot_id.end_offset, asked->snapshot_id.epoch};
  partition.current_leader = {state_.leader, state_.epoch};
  add_leader(response.node_endpoints, state_.leader, leader_address());
  const SnapshotId wanted{asked->snapshot_id.end_offset, asked->snapshot_id.epoch};
  if (asked->current_leader_epoch < state_.epoch) {
    partition.error_code = ErrorCode::kFencedLeaderEpoch;
  } else if (asked->current_leader_epoch > state_.epoch) {
    partition.error_code = ErrorCode::kUnknownLeaderEpoch;
  } else if (role_ != RaftRole::kLeader) {
    partition.error_code = ErrorCode::kNotLeaderOrFollower;
  } else if (const auto content = wanted.end_offset > 0 ? log_.read_snapshot(wanted)
                                                        : fail(ErrorCode::kSnapshotNotFound, "");
             !content) {
    partition.error_code = ErrorCode::kSnapshotNotFound;
  } else if (asked->position < 0 || asked->position >= static_cast<int64_t>(content->size())) {
    partition.error_code = ErrorCode::kPositionOutOfRange;
  } else {
    const auto at = static_cast<size_t>(asked->position);
    const size_t most = std::clamp<size_t>(static_cast<size_t>(std::max(request.max_bytes, 1)), 1,
                                           kSnapshotPieceMax);
    partition.size = static_cast<int64_t>(content->size());
    partition.position = asked->position;
    partition.unaligned_records =
        Payload(Bytes::copy_of(std::string_view(*content).substr(at, most)));
    const ReplicaKey key{request.replica_id, asked->replica_directory_id};
    for (auto& [known, replica] : replicas_) {
      if (known.matches(key)) {
        replica.last_fetch_ms = clock_.monotonic_ms();
      }
    }
  }
  return response;
}

DescribeQuorumResponse Raft::describe() const {
  DescribeQuorumResponse response;
  response.error_message.reset();
  response.topics = {{.topic_name = kMetadataTopic, .partitions = {{}}}};
  auto& partition = response.topics[0].partitions[0];
  partition.error_message.reset();
  if (role_ != RaftRole::kLeader) {
    partition.error_code = ErrorCode::kNotLeaderOrFollower;
    partition.leader_id = state_.leader;
    partition.leader_epoch = state_.epoch;
    return response;
  }
  partition.leader_id = options_.self.id;
  partition.leader_epoch = state_.epoch;
  partition.high_watermark = high_watermark_;
  const int64_t now = clock_.wall_ms();
  for (const auto& [id, voter] : voters().all()) {
    const auto found = replicas_.find(voter.key);
    const Replica replica = found == replicas_.end() ? Replica{} : found->second;
    const bool self = id == options_.self.id;
    partition.current_voters.push_back(
        {.replica_id = id,
         .replica_directory_id = voter.key.directory,
         .log_end_offset = self ? log_.end_offset() : replica.end_offset,
         .last_fetch_timestamp = self ? now : replica.last_fetch_wall_ms,
         .last_caught_up_timestamp = self ? now : replica.last_caught_up_wall_ms});
    auto& node = response.nodes.emplace_back();
    node.node_id = id;
    for (const auto& [name, address] : voter.endpoints) {
      node.listeners.push_back({.name = name, .host = address.host, .port = address.port});
    }
  }
  constexpr int64_t kForgottenAfterMs = 300'000;
  for (const auto& [key, replica] : replicas_) {
    if (!voters().contains(key) && now - replica.last_fetch_wall_ms < kForgottenAfterMs) {
      partition.observers.push_back({.replica_id = key.id,
                                     .replica_directory_id = key.directory,
                                     .log_end_offset = replica.end_offset,
                                     .last_fetch_timestamp = replica.last_fetch_wall_ms,
                                     .last_caught_up_timestamp = replica.last_caught_up_wall_ms});
    }
  }
  return response;
}

}  // namespace klamm::replication
