// Votes: asking for them, granting them, and the requests by which a leader begins and ends its
// epoch.
#include <algorithm>

#include "protocol/generated/leader_change_message.h"
#include "replication/raft/raft.h"
#include "replication/raft/raft_requests.h"

namespace klamm::replication {

using namespace protocol;

void Raft::become_prospective() {
  if (voters().is_only(options_.self)) {
    return become_candidate();
  }
  role_deadline_ms_ = clock_.monotonic_ms() + random_timeout(options_.election_timeout_ms);
  set_role(RaftRole::kProspective);
  ask_for_votes();
}

void Raft::become_candidate() {
  ++state_.epoch;
  state_.leader = -1;
  state_.voted = options_.self;
  // Alone it needs nobody's vote, and what it becomes is written once.
  const bool alone = voters().is_only(options_.self);
  if (!alone && !save()) {
    return;
  }
  leader_endpoints_.clear();
  role_deadline_ms_ = clock_.monotonic_ms() + random_timeout(options_.election_timeout_ms);
  set_role(RaftRole::kCandidate);
  ask_for_votes();
}

void Raft::ask_for_votes() {
  granted_ = {options_.self.id};
  rejected_.clear();
  const bool pre_vote = role_ == RaftRole::kProspective;
  const uint64_t election = election_;
  for (const auto& [id, voter] : voters().all()) {
    if (id == options_.self.id || voter.address() == nullptr) {
      continue;
    }
    VoteRequest request;
    request.cluster_id = options_.cluster_id;
    request.voter_id = id;
    request.topics = {{.topic_name = kMetadataTopic,
                       .partitions = {{.replica_epoch = state_.epoch,
                                       .replica_id = options_.self.id,
                                       .replica_directory_id = options_.self.directory,
                                       .voter_directory_id = voter.key.directory,
                                       .last_offset_epoch = log_.last_epoch(),
                                       .last_offset = log_.end_offset(),
                                       .pre_vote = pre_vote}}}};
    constexpr int16_t kVersionWithPreVote = 2;
    call<VoteResponse>(
        transport_, *voter.address(), std::move(request), options_.request_timeout_ms,
        [weak = weak_from_this(), key = voter.key, epoch = state_.epoch,
         election](Result<VoteResponse> answer) {
          if (const auto self = weak.lock()) {
            self->on_vote(key, epoch, election, std::move(answer));
          }
        },
        kVersionWithPreVote);
  }
  count_votes();
}

void Raft::on_vote(const ReplicaKey& voter, int32_t epoch, uint64_t election,
                   Result<VoteResponse> answer) {
  if (broken_ || !answer || answer->error_code != ErrorCode::kNone) {
    return;
  }
  const auto* const partition = only_partition(answer->topics);
  if (partition == nullptr) {
    return;
  }
  learn(partition->leader_epoch, partition->leader_id, answer->node_endpoints);
  if (election != election_ || epoch != state_.epoch) {
    return;  // an older election's
  }
  (partition->vote_granted ? granted_ : rejected_).insert(voter.id);
  count_votes();
}

void Raft::count_votes() {
  const size_t majority = voters().majority();
  if (granted_.size() >= majority) {
    role_ == RaftRole::kProspective ? become_candidate() : become_leader();
  } else if (rejected_.size() > voters().all().size() - majority) {
    lose_election();
  }
}

// Goes back to the leader that others still hear from, or waits before it tries again.
void Raft::lose_election() {
  const Address* const known = leader_address();
  if (role_ == RaftRole::kProspective && known != nullptr && state_.leader != options_.self.id) {
    return become_follower(state_.epoch, state_.leader, leader_endpoints_);
  }
  become_unattached(state_.epoch, state_.leader);
  role_deadline_ms_ = clock_.monotonic_ms() + options_.retry_backoff_ms +
                      static_cast<int64_t>(random_.next() %
                                           static_cast<uint64_t>(options_.election_backoff_max_ms));
}

bool Raft::may_grant(const ReplicaKey& candidate, bool pre_vote, bool log_is_current) const {
  switch (role_) {
    case RaftRole::kLeader: return false;
    // Who hears from the leader sees no need for another.
    case RaftRole::kFollower: return pre_vote && log_is_current && !fetched_;
    case RaftRole::kCandidate:
    case RaftRole::kResigned: return pre_vote && log_is_current;
    case RaftRole::kUnattached:
    case RaftRole::kProspective:
      if (pre_vote) {
        return log_is_current;
      }
      if (state_.voted.id >= 0) {
        return state_.voted.matches(candidate);
      }
      return state_.leader < 0 && log_is_current;
  }
  return false;
}

VoteResponse Raft::vote(const VoteRequest& request) {
  VoteResponse response;
  const auto* const asked = only_partition(request.topics);
  if (const ErrorCode refused = check_request(request.cluster_id, options_.cluster_id, asked);
      refused != ErrorCode::kNone) {
    response.error_code = refused;
    return response;
  }
  const int32_t epoch_below = asked->replica_epoch + (asked->pre_vote ? 1 : 0);
  ErrorCode code = ErrorCode::kNone;
  bool granted = false;
  if (asked->last_offset < 0 || asked->last_offset_epoch < 0 || asked->replica_epoch < 0 ||
      asked->replica_id < 0 || asked->last_offset_epoch >= epoch_below) {
    code = ErrorCode::kInvalidRequest;
  } else if (asked->replica_epoch < state_.epoch) {
    code = ErrorCode::kFencedLeaderEpoch;
  } else {
    if (asked->replica_epoch > state_.epoch) {
      become_unattached(asked->replica_epoch);
    }
    const ReplicaKey candidate{asked->replica_id, asked->replica_directory_id};
    if (request.voter_id >= 0 &&
        !options_.self.matches({request.voter_id, asked->voter_directory_id})) {
      code = ErrorCode::kInvalidVoterKey;
    } else {
      const bool log_is_current = std::pair(asked->last_offset_epoch, asked->last_offset) >=
                                  std::pair(log_.last_epoch(), log_.end_offset());
      granted = !broken_ && may_grant(candidate, asked->pre_vote, log_is_current);
      if (granted && !asked->pre_vote && state_.voted != candidate) {
        state_.voted = candidate;
        granted = save().has_value();
        become_unattached(state_.epoch, -1);
      }
    }
  }
  response.topics = {{.topic_name = kMetadataTopic,
                      .partitions = {{.error_code = code,
                                      .leader_id = state_.leader,
                                      .leader_epoch = state_.epoch,
                                      .vote_granted = granted}}}};
  add_leader(response.node_endpoints, state_.leader, leader_address());
  return response;
}

void Raft::tell_voters() {
  const int64_t now = clock_.monotonic_ms();
  for (const auto& [id, voter] : voters().all()) {
    const auto found = replicas_.find(voter.key);
    if (id == options_.self.id || found == replicas_.end() || voter.address() == nullptr ||
        now < found->second.next_begin_ms) {
      continue;
    }
    // Who fetches has heard of the epoch.
    found->second.next_begin_ms = now + options_.fetch_timeout_ms / 2;
    if (found->second.last_fetch_leader_end >= 0 &&
        now - found->second.last_fetch_ms < options_.fetch_timeout_ms / 2) {
      continue;
    }
    BeginQuorumEpochRequest request;
    request.cluster_id = options_.cluster_id;
    request.voter_id = id;
    request.topics = {{.topic_name = kMetadataTopic,
                       .partitions = {{.voter_directory_id = voter.key.directory,
                                       .leader_id = options_.self.id,
                                       .leader_epoch = state_.epoch}}}};
    for (const auto& [name, address] : options_.listeners) {
      request.leader_endpoints.push_back(
          {.name = name, .host = address.host, .port = address.port});
    }
    constexpr int16_t kVersionWithEndpoints = 1;
    call<BeginQuorumEpochResponse>(
        transport_, *voter.address(), std::move(request), options_.request_timeout_ms,
        [weak = weak_from_this()](Result<BeginQuorumEpochResponse> answer) {
          const auto self = weak.lock();
          const auto* const partition = self && answer ? only_partition(answer->topics) : nullptr;
          if (partition != nullptr) {
            self->learn(partition->leader_epoch, partition->leader_id, answer->node_endpoints);
          }
        },
        kVersionWithEndpoints);
  }
}

BeginQuorumEpochResponse Raft::begin_epoch(const BeginQuorumEpochRequest& request) {
  BeginQuorumEpochResponse response;
  const auto* const told = only_partition(request.topics);
  if (const ErrorCode refused = check_request(request.cluster_id, options_.cluster_id, told);
      refused != ErrorCode::kNone) {
    response.error_code = refused;
    return response;
  }
  ErrorCode code = ErrorCode::kNone;
  if (told->leader_id < 0 || told->leader_epoch < 0) {
    code = ErrorCode::kInvalidRequest;
  } else if (told->leader_epoch < state_.epoch) {
    code = ErrorCode::kFencedLeaderEpoch;
  } else if (request.voter_id >= 0 &&
             !options_.self.matches({request.voter_id, told->voter_directory_id})) {
    code = ErrorCode::kInvalidVoterKey;
  } else if (told->leader_epoch == state_.epoch && state_.leader >= 0 &&
             state_.leader != told->leader_id) {
    code = ErrorCode::kInvalidRequest;  // an epoch has one leader
  } else if (told->leader_id != options_.self.id &&
             (told->leader_epoch > state_.epoch || role_ != RaftRole::kFollower)) {
    std::vector<std::pair<std::string, Address>> endpoints;
    for (const auto& endpoint : request.leader_endpoints) {
      endpoints.push_back({endpoint.name, {endpoint.host, endpoint.port}});
    }
    become_follower(told->leader_epoch, told->leader_id, std::move(endpoints));
  }
  response.topics = {
      {.topic_name = kMetadataTopic,
       .partitions = {
           {.error_code = code, .leader_id = state_.leader, .leader_epoch = state_.epoch}}}};
  add_leader(response.node_endpoints, state_.leader, leader_address());
  return response;
}

void Raft::resign() {
  if (role_ != RaftRole::kLeader) {
    return;
  }
  end_epoch_for_all();
  role_deadline_ms_ = clock_.monotonic_ms() + random_timeout(options_.election_timeout_ms);
  set_role(RaftRole::kResigned);
}

// The voter that has most of the log stands first.
void Raft::end_epoch_for_all() {
  std::vector<std::pair<int64_t, ReplicaKey>> order;
  for (const auto& [id, voter] : voters().all()) {
    if (id != options_.self.id) {
      const auto found = replicas_.find(voter.key);
      order.emplace_back(found == replicas_.end() ? -1 : found->second.end_offset, voter.key);
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  EndQuorumEpochRequest request;
  request.cluster_id = options_.cluster_id;
  auto& told = request.topics.emplace_back(
      end_quorum_epoch_request::TopicData{.topic_name = kMetadataTopic, .partitions = {{}}});
  told.partitions[0].leader_id = options_.self.id;
  told.partitions[0].leader_epoch = state_.epoch;
  for (const auto& [end, key] : order) {
    told.partitions[0].preferred_candidates.push_back(
        {.candidate_id = key.id, .candidate_directory_id = key.directory});
  }
  for (const auto& [name, address] : options_.listeners) {
    request.leader_endpoints.push_back({.name = name, .host = address.host, .port = address.port});
  }
  for (const auto& [end, key] : order) {
    if (const Address* const address = voters().address_of(key.id)) {
      constexpr int16_t kVersionWithCandidates = 1;
      call<EndQuorumEpochResponse>(
          transport_, *address, request, options_.request_timeout_ms,
          [](const Result<EndQuorumEpochResponse>&) {}, kVersionWithCandidates);
    }
  }
}

EndQuorumEpochResponse Raft::end_epoch(const EndQuorumEpochRequest& request) {
  EndQuorumEpochResponse response;
  const auto* const told = only_partition(request.topics);
  if (const ErrorCode refused = check_request(request.cluster_id, options_.cluster_id, told);
      refused != ErrorCode::kNone) {
    response.error_code = refused;
    return response;
  }
  ErrorCode code = ErrorCode::kNone;
  if (told->leader_epoch < state_.epoch) {
    code = ErrorCode::kFencedLeaderEpoch;
  } else {
    if (told->leader_epoch > state_.epoch) {
      become_unattached(told->leader_epoch);
    }
    // The first of the list asks for votes at once, the others a little later in their order.
    int64_t wait = 0;
    const auto& list = told->preferred_candidates;
    for (size_t i = 0; i < list.size(); ++i) {
      if (options_.self.matches({list[i].candidate_id, list[i].candidate_directory_id}) && i > 0) {
        const int64_t most = std::min(options_.retry_backoff_ms << std::min<size_t>(i, 10),
                                      options_.election_backoff_max_ms);
        wait = options_.retry_backoff_ms +
               static_cast<int64_t>(random_.next() % static_cast<uint64_t>(most));
      }
    }
    if (is_voter() && (role_ == RaftRole::kFollower || role_ == RaftRole::kUnattached)) {
      fetched_ = false;
      leader_ended_ = true;
      role_deadline_ms_ = clock_.monotonic_ms() + wait;
    }
  }
  response.topics = {
      {.topic_name = kMetadataTopic,
       .partitions = {
           {.error_code = code, .leader_id = state_.leader, .leader_epoch = state_.epoch}}}};
  add_leader(response.node_endpoints, state_.leader, leader_address());
  return response;
}

}  // namespace klamm::replication
