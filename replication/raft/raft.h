#pragma once
// One node's part in KRaft (KIP-595, pre-vote of KIP-996): who leads the metadata log in which
// epoch, and up to where it is committed. Fed with the requests of others, the answers to its own
// and the time; speaks through the transport. Everything it promises (its epoch, its vote, what it
// has appended) is on the medium before it is said.
//
// Roles: unattached (knows no leader), follower, prospective (asks whether it would be elected),
// candidate, leader, resigned (led this epoch and does no more). A node that does not vote is an
// observer: unattached or follower.
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "protocol/generated/add_raft_voter_request.h"
#include "protocol/generated/api_versions_response.h"
#include "protocol/generated/begin_quorum_epoch_request.h"
#include "protocol/generated/begin_quorum_epoch_response.h"
#include "protocol/generated/describe_quorum_response.h"
#include "protocol/generated/end_quorum_epoch_request.h"
#include "protocol/generated/end_quorum_epoch_response.h"
#include "protocol/generated/fetch_request.h"
#include "protocol/generated/fetch_response.h"
#include "protocol/generated/fetch_snapshot_request.h"
#include "protocol/generated/fetch_snapshot_response.h"
#include "protocol/generated/remove_raft_voter_request.h"
#include "protocol/generated/update_raft_voter_request.h"
#include "protocol/generated/update_raft_voter_response.h"
#include "protocol/generated/vote_request.h"
#include "protocol/generated/vote_response.h"
#include "replication/raft/election_state.h"
#include "replication/raft/raft_log.h"
#include "replication/transport.h"

namespace klamm::replication {

struct RaftOptions {
  ReplicaKey self;
  std::string cluster_id;
  bool is_controller = true;  // may vote
  bool auto_join = false;     // asks for its vote by itself, once it has caught up
  VoterSet static_voters;     // in force while the log has no voter set
  std::vector<Address> bootstrap;
  std::vector<std::pair<std::string, Address>> listeners;  // where this controller is reached
  int64_t election_timeout_ms = 1000;
  int64_t election_backoff_max_ms = 1000;
  int64_t fetch_timeout_ms = 2000;
  int64_t request_timeout_ms = 2000;
  int64_t retry_backoff_ms = 20;
};

enum class RaftRole { kUnattached, kFollower, kProspective, kCandidate, kLeader, kResigned };
const char* name_of(RaftRole role);

// What happens; called by Raft, which may be asked but not changed from within.
class RaftListener {
 public:
  virtual ~RaftListener() = default;
  virtual void on_committed(int64_t high_watermark) = 0;
  // The log was replaced by a snapshot up to its end.
  virtual void on_snapshot(const SnapshotId& id) = 0;
  virtual void on_role(RaftRole role, int32_t leader, int32_t epoch) = 0;
  // Something could not be written: nothing may be promised any more.
  virtual void on_failure(const Error& error) = 0;
};

class Raft : public std::enable_shared_from_this<Raft> {
 public:
  Raft(RaftOptions options, RaftLog& log, ElectionFile& file, Transport& transport,
       const storage::Clock& clock, storage::Random& random, RaftListener& listener);

  // Takes up the epoch and vote on disk. A voter who is alone leads when it returns.
  Result<> start();
  // Does what is due. To be called at `deadline`, which moves with every other call.
  void tick();
  int64_t deadline_ms() const;

  RaftRole role() const { return role_; }
  int32_t epoch() const { return state_.epoch; }
  int32_t leader() const { return state_.leader; }  // -1: none known
  bool is_leader() const { return role_ == RaftRole::kLeader; }
  // Where the leader's controller listens; null when it is not known.
  const Address* leader_address() const;
  const std::vector<std::pair<std::string, Address>>& leader_endpoints() const {
    return leader_endpoints_;
  }
  // Everything below is committed; -1 while that is not known.
  int64_t high_watermark() const { return high_watermark_; }
  const VoterSet& voters() const;
  bool is_voter() const { return options_.is_controller && voters().contains(options_.self); }

  // Of the leader: appends a batch in its epoch. NOT_LEADER_OR_FOLLOWER for others.
  Result<int64_t> append(const Bytes& batch);
  // Hands over before a stop.
  void resign();

  protocol::VoteResponse vote(const protocol::VoteRequest& request);
  protocol::BeginQuorumEpochResponse begin_epoch(const protocol::BeginQuorumEpochRequest& request);
  protocol::EndQuorumEpochResponse end_epoch(const protocol::EndQuorumEpochRequest& request);
  using FetchReply = std::move_only_function<void(protocol::FetchResponse)>;
  void fetch(const protocol::FetchRequest& request, int16_t version, FetchReply reply);
  protocol::FetchSnapshotResponse fetch_snapshot(const protocol::FetchSnapshotRequest& request);
  protocol::DescribeQuorumResponse describe() const;

  // Changes of the voter set (KIP-853), one at a time, told when committed. NOT_LEADER_OR_FOLLOWER,
  // INCONSISTENT_CLUSTER_ID, UNSUPPORTED_VERSION while kraft.version is 0, DUPLICATE_VOTER,
  // VOTER_NOT_FOUND, INVALID_REQUEST when the new voter does not support kraft.version,
  // REQUEST_TIMED_OUT when it lags or another change is under way: to be tried again.
  using VoterReply = std::move_only_function<void(Result<>)>;
  void add_voter(const protocol::AddRaftVoterRequest& request, VoterReply reply);
  void remove_voter(const protocol::RemoveRaftVoterRequest& request, VoterReply reply);
  protocol::UpdateRaftVoterResponse update_voter(const protocol::UpdateRaftVoterRequest& request);
  int16_t kraft_version() const { return log_.kraft_version(); }
  // Writes the voters into the log, from where they can be changed. INVALID_UPDATE_VERSION while
  // not every voter has told its directory, or one does not support it.
  Result<> upgrade_kraft_version(bool validate_only);

 private:
  struct Replica {
    int64_t end_offset = -1;
    int64_t last_fetch_ms = -1;
    int64_t last_fetch_wall_ms = -1;
    int64_t last_caught_up_wall_ms = -1;
    int64_t last_fetch_leader_end = -1;
    int64_t next_begin_ms = INT64_MAX;  // BeginQuorumEpoch is sent until the voter fetches
  };
  // A fetch that found nothing new.
  struct Parked {
    protocol::FetchRequest request;
    int16_t version;
    int64_t deadline_ms;
    FetchReply reply;
  };

  // An addition or removal under way. `end_offset` -1: the new voter is asked what it supports.
  struct VoterChange {
    int64_t end_offset = -1;
    int64_t deadline_ms = 0;
    bool reply_at_once = false;
    VoterReply reply;
  };

  // Roles.
  Result<> save();
  void become_unattached(int32_t epoch, int32_t leader = -1);
  void become_follower(int32_t epoch, int32_t leader,
                       std::vector<std::pair<std::string, Address>> endpoints);
  void become_prospective();
  void become_candidate();
  void become_leader();
  void leave_leadership();
  void set_role(RaftRole role);
  // What an answer or request tells of another epoch or an unknown leader.
  template <class Endpoints>
  void learn(int32_t epoch, int32_t leader, const Endpoints& endpoints);
  int64_t random_timeout(int64_t base_ms);
  void failed(const Error& error);

  // Elections.
  void ask_for_votes();
  void on_vote(const ReplicaKey& voter, int32_t epoch, uint64_t election,
               Result<protocol::VoteResponse> answer);
  void count_votes();
  bool may_grant(const ReplicaKey& candidate, bool pre_vote, bool log_is_current) const;
  void lose_election();

  // Leader.
  void tell_voters();
  void end_epoch_for_all();
  bool advance_high_watermark();
  void serve_parked(bool all);
  bool try_fetch(const protocol::FetchRequest& request, int16_t version, bool last_try,
                 protocol::FetchResponse& response);
  protocol::FetchResponse fetch_error(ErrorCode code) const;
  void note_fetch(const ReplicaKey& key, int64_t offset);
  bool has_majority_contact() const;

  // Voters.
  Voter own_voter() const;
  Result<> may_change_voters(const std::optional<std::string>& cluster_id) const;
  void on_new_voter(Voter voter, uint64_t election, Result<protocol::ApiVersionsResponse> answer);
  Result<> append_voters(const VoterSet& voters);
  void rekey_replicas();
  void finish_voter_change(Result<> outcome);
  void advance_voter_change();
  bool is_voted_out() const;
  void tell_leader_of_self();
  void join_voters(const Address& leader);

  // Follower.
  void fetch_next();
  void on_fetched(const Address& from, int32_t epoch, Result<protocol::FetchResponse> answer);
  void take_records(const protocol::fetch_response::PartitionData& partition);
  void fetch_snapshot_piece();
  void on_snapshot_piece(int32_t epoch, Result<protocol::FetchSnapshotResponse> answer);
  void heard_from_leader();
  void back_off(ErrorCode why);
  void set_high_watermark(int64_t offset);

  RaftOptions options_;
  RaftLog& log_;
  ElectionFile& file_;
  Transport& transport_;
  const storage::Clock& clock_;
  storage::Random& random_;
  RaftListener& listener_;

  RaftRole role_ = RaftRole::kUnattached;
  ElectionState state_;
  std::vector<std::pair<std::string, Address>> leader_endpoints_;
  int64_t high_watermark_ = -1;
  bool broken_ = false;

  int64_t role_deadline_ms_ = INT64_MAX;  // election, fetch or quorum timeout
  uint64_t election_ = 0;                 // tells answers to older ones
  std::set<int32_t> granted_, rejected_;

  // Leader.
  int64_t epoch_start_ = 0;
  std::map<ReplicaKey, Replica> replicas_;
  std::list<Parked> parked_;
  std::optional<VoterChange> voter_change_;
  VoterSet known_voters_;  // with what they have told, while kraft.version is 0

  // Follower and observer.
  bool fetching_ = false;
  bool fetched_ = false;       // from this leader
  bool leader_ended_ = false;  // it has said that it goes; what it sent before keeps nobody waiting
  int64_t next_fetch_ms_ = 0;
  int64_t backoff_ms_ = 0;
  size_t next_bootstrap_ = 0;
  std::optional<SnapshotId> wanted_snapshot_;
  std::string snapshot_;                // what came of it
  int64_t next_update_ms_ = INT64_MAX;  // when to see whether the leader knows this voter as it is
  bool leader_knows_self_ = false;
};

}  // namespace klamm::replication
