#include "replication/raft/raft.h"

#include <algorithm>

#include "protocol/generated/leader_change_message.h"

namespace klamm::replication {

using namespace protocol;

namespace {

constexpr int64_t kNever = INT64_MAX;

}  // namespace

const char* name_of(RaftRole role) {
  switch (role) {
    case RaftRole::kUnattached: return "unattached";
    case RaftRole::kFollower: return "follower";
    case RaftRole::kProspective: return "prospective";
    case RaftRole::kCandidate: return "candidate";
    case RaftRole::kLeader: return "leader";
    case RaftRole::kResigned: return "resigned";
  }
  return "";
}

Raft::Raft(RaftOptions options, RaftLog& log, ElectionFile& file, Transport& transport,
           const storage::Clock& clock, storage::Random& random, RaftListener& listener)
    : options_(std::move(options)),
      log_(log),
      file_(file),
      transport_(transport),
      clock_(clock),
      random_(random),
      listener_(listener) {}

Result<> Raft::start() {
  TRY(state_, file_.load());
  // The log may be ahead of a state that was lost, never the other way round.
  if (log_.last_epoch() > state_.epoch) {
    state_ = {.epoch = log_.last_epoch()};
  }
  if (log_.snapshot()) {
    high_watermark_ = log_.snapshot()->end_offset;
  }
  if (is_voter() && voters().is_only(options_.self)) {
    become_candidate();
  } else {
    become_unattached(state_.epoch, state_.leader);
  }
  return broken_ ? fail(ErrorCode::kKafkaStorageError, "the quorum's state cannot be written")
                 : Result<>();
}

const VoterSet& Raft::voters() const {
  const VoterSet* const of_log = log_.voters();
  return of_log != nullptr ? *of_log : options_.static_voters;
}

const Address* Raft::leader_address() const {
  if (!leader_endpoints_.empty()) {
    return &leader_endpoints_.front().second;
  }
  return state_.leader < 0 ? nullptr : voters().address_of(state_.leader);
}

int64_t Raft::random_timeout(int64_t base_ms) {
  return base_ms + static_cast<int64_t>(random_.next() % static_cast<uint64_t>(base_ms));
}

void Raft::failed(const Error& error) {
  if (!std::exchange(broken_, true)) {
    role_deadline_ms_ = next_fetch_ms_ = next_update_ms_ = kNever;
    listener_.on_failure(error);
  }
}

Result<> Raft::save() {
  auto saved = file_.save(state_, voters(), log_.kraft_version());
  if (!saved) {
    failed(saved.error());
  }
  return saved;
}

void Raft::set_role(RaftRole role) {
  const bool led = role_ == RaftRole::kLeader && role != RaftRole::kLeader;
  role_ = role;
  ++election_;
  if (led) {
    leave_leadership();
  }
  listener_.on_role(role_, state_.leader, state_.epoch);
}

void Raft::become_unattached(int32_t epoch, int32_t leader) {
  if (epoch > state_.epoch || leader != state_.leader) {
    if (epoch > state_.epoch) {
      state_.voted = {};
    }
    state_.epoch = epoch;
    state_.leader = leader;
    if (!save()) {
      return;
    }
  }
  leader_endpoints_.clear();
  const int64_t now = clock_.monotonic_ms();
  role_deadline_ms_ = is_voter() ? now + random_timeout(options_.election_timeout_ms) : kNever;
  next_fetch_ms_ = now + backoff_ms_;
  wanted_snapshot_.reset();
  set_role(RaftRole::kUnattached);
}

void Raft::become_follower(int32_t epoch, int32_t leader,
                           std::vector<std::pair<std::string, Address>> endpoints) {
  if (epoch != state_.epoch || leader != state_.leader) {
    if (epoch > state_.epoch) {
      state_.voted = {};
    }
    state_.epoch = epoch;
    state_.leader = leader;
    if (!save()) {
      return;
    }
  }
  leader_endpoints_ = std::move(endpoints);
  fetched_ = leader_ended_ = false;
  const int64_t now = clock_.monotonic_ms();
  leader_knows_self_ = false;
  next_update_ms_ = options_.is_controller ? now + options_.fetch_timeout_ms : kNever;
  role_deadline_ms_ = now + options_.fetch_timeout_ms;
  backoff_ms_ = 0;
  next_fetch_ms_ = now;
  wanted_snapshot_.reset();
  set_role(RaftRole::kFollower);
}

template <class Endpoints>
void Raft::learn(int32_t epoch, int32_t leader, const Endpoints& endpoints) {
  // A prospective node knows the leader that it misses.
  const bool seeks = role_ == RaftRole::kUnattached || role_ == RaftRole::kCandidate ||
                     (role_ == RaftRole::kProspective && state_.leader < 0);
  const bool is_news = epoch > state_.epoch || (epoch == state_.epoch && leader >= 0 && seeks);
  if (!is_news) {
    return;
  }
  std::vector<std::pair<std::string, Address>> found;
  for (const auto& endpoint : endpoints) {
    if (endpoint.node_id == leader) {
      found.push_back({"", {endpoint.host, static_cast<uint16_t>(endpoint.port)}});
    }
  }
  const bool reachable = !found.empty() || voters().address_of(leader) != nullptr;
  if (leader >= 0 && leader != options_.self.id && reachable) {
    become_follower(epoch, leader, std::move(found));
  } else if (epoch > state_.epoch) {
    become_unattached(epoch);
  }
}
template void Raft::learn(int32_t, int32_t,
                          const std::vector<vote_response::NodeEndpoint>& endpoints);
template void Raft::learn(int32_t, int32_t,
                          const std::vector<fetch_response::NodeEndpoint>& endpoints);
template void Raft::learn(int32_t, int32_t,
                          const std::vector<begin_quorum_epoch_response::NodeEndpoint>& endpoints);
template void Raft::learn(int32_t, int32_t,
                          const std::vector<fetch_snapshot_response::NodeEndpoint>& endpoints);

void Raft::tick() {
  if (broken_) {
    return;
  }
  const int64_t now = clock_.monotonic_ms();
  if (now >= role_deadline_ms_) {
    switch (role_) {
      case RaftRole::kLeader:
        if (has_majority_contact() && !is_voted_out()) {
          role_deadline_ms_ = now + options_.fetch_timeout_ms / 2;
        } else {
          resign();
        }
        break;
      case RaftRole::kResigned: become_unattached(state_.epoch, state_.leader); break;
      case RaftRole::kFollower:
        is_voter() ? become_prospective() : become_unattached(state_.epoch, -1);
        break;
      default: is_voter() ? become_prospective() : become_unattached(state_.epoch, -1);
    }
  }
  if (role_ == RaftRole::kLeader) {
    tell_voters();
    serve_parked(false);
    if (voter_change_ && now >= voter_change_->deadline_ms) {
      finish_voter_change(
          fail(ErrorCode::kRequestTimedOut, "the change was not committed in time"));
    }
    return;
  }
  if (role_ == RaftRole::kFollower && now >= next_update_ms_) {
    tell_leader_of_self();
  }
  if (now >= next_fetch_ms_) {
    fetch_next();
  }
}

int64_t Raft::deadline_ms() const {
  int64_t deadline = role_deadline_ms_;
  if (role_ == RaftRole::kLeader) {
    for (const Parked& parked : parked_) {
      deadline = std::min(deadline, parked.deadline_ms);
    }
    for (const auto& [key, replica] : replicas_) {
      deadline = std::min(deadline, replica.next_begin_ms);
    }
    deadline = std::min(deadline, voter_change_ ? voter_change_->deadline_ms : kNever);
  } else if (!fetching_ && (role_ == RaftRole::kFollower || role_ == RaftRole::kUnattached)) {
    deadline = std::min(deadline, next_fetch_ms_);
  }
  if (role_ == RaftRole::kFollower) {
    deadline = std::min(deadline, next_update_ms_);
  }
  return broken_ ? kNever : deadline;
}

}  // namespace klamm::replication
