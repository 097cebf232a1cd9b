// Changing who votes (KIP-853): the leader adds and removes voters one at a time, each change a
// VotersRecord that is in force as soon as it is appended; voters tell the leader what they are.
#include <algorithm>

#include "protocol/generated/add_raft_voter_response.h"
#include "protocol/generated/api_versions_request.h"
#include "protocol/generated/k_raft_version_record.h"
#include "protocol/generated/remove_raft_voter_response.h"
#include "replication/raft/raft.h"

namespace klamm::replication {

using namespace protocol;

namespace {

constexpr int16_t kReconfigurable = 1;
constexpr int64_t kObserverForgottenAfterMs = 3'600'000;

template <class Listeners>
std::vector<std::pair<std::string, Address>> endpoints_of(const Listeners& listeners) {
  std::vector<std::pair<std::string, Address>> endpoints;
  for (const auto& listener : listeners) {
    endpoints.push_back({listener.name, {listener.host, listener.port}});
  }
  return endpoints;
}

}  // namespace

Voter Raft::own_voter() const { return {.key = options_.self, .endpoints = options_.listeners}; }

Result<> Raft::may_change_voters(const std::optional<std::string>& cluster_id) const {
  if (cluster_id && *cluster_id != options_.cluster_id) {
    return fail(ErrorCode::kInconsistentClusterId, "the request is for another cluster");
  }
  if (role_ != RaftRole::kLeader || broken_) {
    return fail(ErrorCode::kNotLeaderOrFollower, "this node does not lead the metadata quorum");
  }
  if (voter_change_) {
    return fail(ErrorCode::kRequestTimedOut, "another change of the voters is under way");
  }
  if (high_watermark_ <= epoch_start_) {
    return fail(ErrorCode::kRequestTimedOut, "the leader has committed nothing in its epoch yet");
  }
  if (log_.kraft_version() < kReconfigurable) {
    return fail(ErrorCode::kUnsupportedVersion,
                "The voters cannot be changed because kraft.version is 0.");
  }
  if (log_.voters_offset() >= high_watermark_) {
    return fail(ErrorCode::kRequestTimedOut, "the last change of the voters is not committed yet");
  }
  return {};
}

void Raft::add_voter(const AddRaftVoterRequest& request, VoterReply reply) {
  if (const auto may = may_change_voters(request.cluster_id); !may) {
    return reply(may);
  }
  Voter voter{.key = {request.voter_id, request.voter_directory_id},
              .endpoints = endpoints_of(request.listeners)};
  if (voters().all().contains(request.voter_id)) {
    return reply(fail(
        ErrorCode::kDuplicateVoter,
        "The voter id " + std::to_string(request.voter_id) + " is already in the set of voters."));
  }
  if (voter.endpoints.empty() || voter.key.directory.is_zero() || request.voter_id < 0) {
    return reply(fail(ErrorCode::kInvalidRequest,
                      "A voter has an id, a directory and a listener that it is reached by."));
  }
  const int64_t patience =
      request.timeout_ms > 0 ? request.timeout_ms : options_.request_timeout_ms;
  voter_change_ = VoterChange{.deadline_ms = clock_.monotonic_ms() + patience,
                              .reply_at_once = !request.ack_when_committed,
                              .reply = std::move(reply)};
  ApiVersionsRequest question;
  question.client_software_name = "klamm";
  question.client_software_version = "0";
  const Address to = *voter.address();
  call<ApiVersionsResponse>(
      transport_, to, std::move(question), options_.request_timeout_ms,
      [weak = weak_from_this(), voter = std::move(voter),
       election = election_](Result<ApiVersionsResponse> answer) mutable {
        if (const auto self = weak.lock()) {
          self->on_new_voter(std::move(voter), election, std::move(answer));
        }
      },
      3);
}

void Raft::on_new_voter(Voter voter, uint64_t election, Result<ApiVersionsResponse> answer) {
  if (election != election_ || !voter_change_ || voter_change_->end_offset >= 0 || broken_) {
    return;
  }
  if (!answer || answer->error_code != ErrorCode::kNone) {
    return finish_voter_change(
        fail(ErrorCode::kRequestTimedOut,
             "the new voter does not answer at " + voter.address()->to_string()));
  }
  voter.kraft_version_min = voter.kraft_version_max = 0;
  for (const auto& feature : answer->supported_features) {
    if (feature.name == "kraft.version") {
      voter.kraft_version_min = feature.min_version;
      voter.kraft_version_max = feature.max_version;
    }
  }
  if (voter.kraft_version_max < log_.kraft_version()) {
    return finish_voter_change(
        fail(ErrorCode::kInvalidRequest, "the new voter does not support the kraft.version"));
  }
  const auto replica = replicas_.find(voter.key);
  if (replica == replicas_.end() || replica->second.last_caught_up_wall_ms < 0 ||
      clock_.wall_ms() - replica->second.last_fetch_wall_ms > kObserverForgottenAfterMs) {
    return finish_voter_change(
        fail(ErrorCode::kRequestTimedOut, "the new voter has not caught up with the leader yet"));
  }
  if (const auto appended = append_voters(voters().with(std::move(voter))); !appended) {
    finish_voter_change(appended);
  }
}

void Raft::remove_voter(const RemoveRaftVoterRequest& request, VoterReply reply) {
  if (const auto may = may_change_voters(request.cluster_id); !may) {
    return reply(may);
  }
  const ReplicaKey key{request.voter_id, request.voter_directory_id};
  if (voters().find(key) == nullptr || voters().all().size() == 1) {
    return reply(fail(ErrorCode::kVoterNotFound,
                      "Cannot remove voter " + std::to_string(key.id) + " with directory " +
                          key.directory.to_string() +
                          (voters().all().size() == 1 ? ": a quorum needs a voter."
                                                      : ": it is not in the set of voters.")));
  }
  voter_change_ = VoterChange{.deadline_ms = clock_.monotonic_ms() + options_.request_timeout_ms,
                              .reply = std::move(reply)};
  if (const auto appended = append_voters(voters().without(key.id)); !appended) {
    finish_voter_change(appended);
  }
}

Result<> Raft::append_voters(const VoterSet& voters) {
  TRY_VOID(append(control_batch({control_record(kVoters, voters.to_record())}, state_.epoch,
                                clock_.wall_ms())));
  rekey_replicas();
  if (voter_change_) {
    voter_change_->end_offset = log_.end_offset();
    if (voter_change_->reply_at_once) {
      std::exchange(voter_change_->reply, [](const Result<>&) {})(Result<>());
    }
  }
  advance_high_watermark();
  advance_voter_change();
  return {};
}

// What is known of a replica goes on under the key that it has as a voter.
void Raft::rekey_replicas() {
  for (const auto& [id, voter] : voters().all()) {
    if (replicas_.contains(voter.key)) {
      continue;
    }
    const auto known = std::find_if(replicas_.begin(), replicas_.end(), [&](const auto& entry) {
      return voter.key.matches(entry.first);
    });
    Replica replica{.last_fetch_ms = clock_.monotonic_ms()};
    if (known != replicas_.end()) {
      replica = known->second;
      replicas_.erase(known);
    }
    replicas_[voter.key] = replica;
  }
}

void Raft::finish_voter_change(Result<> outcome) {
  if (auto change = std::exchange(voter_change_, std::nullopt)) {
    change->reply(std::move(outcome));
  }
}

void Raft::advance_voter_change() {
  if (voter_change_ && voter_change_->end_offset >= 0 &&
      high_watermark_ >= voter_change_->end_offset) {
    finish_voter_change({});
  }
  if (is_voted_out()) {
    role_deadline_ms_ = clock_.monotonic_ms();  // hands over when it is its turn
  }
}

bool Raft::is_voted_out() const {
  return role_ == RaftRole::kLeader && !voters().contains(options_.self) &&
         high_watermark_ > log_.voters_offset();
}

UpdateRaftVoterResponse Raft::update_voter(const UpdateRaftVoterRequest& request) {
  UpdateRaftVoterResponse response;
  const auto answer = [&](ErrorCode code) {
    response.error_code = code;
    response.current_leader.leader_id = state_.leader;
    response.current_leader.leader_epoch = state_.epoch;
    if (const Address* const address = leader_address()) {
      response.current_leader.host = address->host;
      response.current_leader.port = address->port;
    }
    return response;
  };
  if (request.cluster_id && *request.cluster_id != options_.cluster_id) {
    return answer(ErrorCode::kInconsistentClusterId);
  }
  if (request.current_leader_epoch != state_.epoch) {
    return answer(request.current_leader_epoch < state_.epoch ? ErrorCode::kFencedLeaderEpoch
                                                              : ErrorCode::kUnknownLeaderEpoch);
  }
  if (role_ != RaftRole::kLeader || broken_) {
    return answer(ErrorCode::kNotLeaderOrFollower);
  }
  const bool is_in_log = log_.kraft_version() >= kReconfigurable;
  if (voter_change_ || high_watermark_ <= epoch_start_ ||
      (is_in_log && log_.voters_offset() >= high_watermark_)) {
    return answer(ErrorCode::kRequestTimedOut);
  }
  Voter voter{.key = {request.voter_id, request.voter_directory_id},
              .endpoints = endpoints_of(request.listeners),
              .kraft_version_min = request.k_raft_version_feature.min_supported_version,
              .kraft_version_max = request.k_raft_version_feature.max_supported_version};
  if (voter.endpoints.empty() || voter.kraft_version_min > log_.kraft_version() ||
      voter.kraft_version_max < log_.kraft_version()) {
    return answer(ErrorCode::kInvalidRequest);
  }
  if (is_in_log ? voters().find(voter.key) == nullptr
                : !known_voters_.all().contains(voter.key.id)) {
    return answer(ErrorCode::kVoterNotFound);
  }
  if (!is_in_log) {
    known_voters_ = known_voters_.with(std::move(voter));
  } else if (*voters().find(voter.key) != voter) {
    if (const auto appended = append_voters(voters().with(std::move(voter))); !appended) {
      return answer(appended.error().code);
    }
  }
  return answer(ErrorCode::kNone);
}

Result<> Raft::upgrade_kraft_version(bool validate_only) {
  if (role_ != RaftRole::kLeader || broken_) {
    return fail(ErrorCode::kNotController, "this node does not lead the metadata quorum");
  }
  if (log_.kraft_version() >= kReconfigurable) {
    return {};
  }
  for (const auto& [id, voter] : known_voters_.all()) {
    if (voter.key.directory.is_zero() || voter.kraft_version_max < kReconfigurable) {
      return fail(ErrorCode::kInvalidUpdateVersion,
                  "Invalid upgrade of kraft.version to 1 because voter " + std::to_string(id) +
                      (voter.key.directory.is_zero() ? " has not told its directory yet."
                                                     : " does not support it."));
    }
  }
  if (validate_only) {
    return {};
  }
  KRaftVersionRecord version;
  version.k_raft_version = kReconfigurable;
  TRY_VOID(append(control_batch(
      {control_record(kKRaftVersion, version), control_record(kVoters, known_voters_.to_record())},
      state_.epoch, clock_.wall_ms())));
  rekey_replicas();
  return save();
}

// While kraft.version is 0 every new leader is told; later the log is put right.
void Raft::tell_leader_of_self() {
  next_update_ms_ = clock_.monotonic_ms() + options_.fetch_timeout_ms;
  const Address* const leader = leader_address();
  if (options_.auto_join && !is_voter() && leader != nullptr && fetched_ &&
      log_.kraft_version() >= kReconfigurable) {
    return join_voters(*leader);
  }
  const Voter* const known = voters().find(options_.self);
  const bool is_known = log_.kraft_version() < kReconfigurable
                            ? leader_knows_self_
                            : known != nullptr && *known == own_voter();
  if (!is_voter() || is_known || leader == nullptr || !fetched_) {
    return;
  }
  UpdateRaftVoterRequest request;
  request.cluster_id = options_.cluster_id;
  request.current_leader_epoch = state_.epoch;
  request.voter_id = options_.self.id;
  request.voter_directory_id = options_.self.directory;
  for (const auto& [name, address] : options_.listeners) {
    request.listeners.push_back({.name = name, .host = address.host, .port = address.port});
  }
  request.k_raft_version_feature = {own_voter().kraft_version_min, own_voter().kraft_version_max};
  call<UpdateRaftVoterResponse>(
      transport_, *leader, std::move(request), options_.request_timeout_ms,
      [weak = weak_from_this(), election = election_](Result<UpdateRaftVoterResponse> answer) {
        const auto self = weak.lock();
        if (self && election == self->election_ && answer) {
          self->leader_knows_self_ = answer->error_code == ErrorCode::kNone;
        }
      });
}

// Under a new directory, this id's old vote goes first. What fails is tried again.
void Raft::join_voters(const Address& leader) {
  const auto old = voters().all().find(options_.self.id);
  if (old != voters().all().end()) {
    RemoveRaftVoterRequest request;
    request.cluster_id = options_.cluster_id;
    request.voter_id = options_.self.id;
    request.voter_directory_id = old->second.key.directory;
    return call<RemoveRaftVoterResponse>(transport_, leader, std::move(request),
                                         options_.request_timeout_ms, [](const auto&) {});
  }
  AddRaftVoterRequest request;
  request.cluster_id = options_.cluster_id;
  request.timeout_ms = static_cast<int32_t>(options_.request_timeout_ms);
  request.voter_id = options_.self.id;
  request.voter_directory_id = options_.self.directory;
  request.ack_when_committed = false;
  for (const auto& [name, address] : options_.listeners) {
    request.listeners.push_back({.name = name, .host = address.host, .port = address.port});
  }
  call<AddRaftVoterResponse>(transport_, leader, std::move(request), options_.request_timeout_ms,
                             [](const auto&) {});
}

}  // namespace klamm::replication
