#pragma once
// Members of a group in the simulated cluster, which come, go, fall silent and commit, and their
// judge: a partition has one owner at a time, who was there before commits
// nothing any more, and what was committed does not go back.
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "broker/sim/membership.h"
#include "broker/sim/sim_cluster.h"

namespace klamm::broker::sim {

class Members {
 public:
  static constexpr int64_t kSessionMs = 6'000;

  Members(SimCluster& cluster, Membership membership, std::string topic, int32_t partitions,
          size_t count);

  void start(const protocol::Uuid& topic_id);
  void stop() { stopping_ = true; }
  bool is_idle() const;
  const std::string& group() const { return membership_.group; }
  size_t commits() const { return commits_; }
  // Whether each partition has an owner among those that live.
  bool have_all() const;
  // Empty, or what is wrong.
  const std::string& wrong() const { return wrong_; }

 private:
  struct Member {
    std::string id;
    int32_t epoch = 0;
    // Until then its coordinator keeps it, at least.
    int64_t session_end_ms = 0;
    std::map<int32_t, uint64_t> owned;  // partition -> tenure
    bool busy = false;
    bool is_dead = false;
  };
  // Of a partition; tenures are numbered over all of them.
  struct Place {
    std::shared_ptr<Member> owner;
    uint64_t tenure = 0;
    int64_t since_ms = 0;  // when the owner was told
    int64_t tried = 0;     // the largest offset sent; each is larger than those before
    int64_t committed = 0;
    // Without an answer, in the tenure that has committed since: they may be done later.
    std::map<int64_t, uint64_t> unsure;
  };

  uint64_t chance(uint64_t of) { return cluster_.random().next() % of; }
  void say(const std::string& what) { wrong_ = wrong_.empty() ? what : wrong_; }
  // As the newest image has it. What another node says that still thinks so does not count.
  bool is_coordinator(size_t node);
  void begin_life(size_t seat);
  void go_on(const std::shared_ptr<Member>& member);
  void act(const std::shared_ptr<Member>& member, size_t node);
  void heartbeat(const std::shared_ptr<Member>& member, size_t node);
  void leave(const std::shared_ptr<Member>& member, size_t node);
  void commit(const std::shared_ptr<Member>& member, size_t node);
  void read(const std::shared_ptr<Member>& member, size_t node);
  void take(const std::shared_ptr<Member>& member, const Told& told, int64_t asked_ms);
  void assign(const std::shared_ptr<Member>& member, const std::set<int32_t>& partitions);
  void own(const std::shared_ptr<Member>& member, int32_t partition);
  void give_up(Member& member);
  void note_commit(int32_t partition, uint64_t tenure, int64_t offset, int64_t asked_ms);

  SimCluster& cluster_;
  Membership membership_;
  std::string topic_;
  protocol::Uuid topic_id_;
  bool stopping_ = false;
  uint64_t lives_ = 0;
  uint64_t tenures_ = 0;
  size_t commits_ = 0;
  std::vector<Place> places_;
  std::vector<std::shared_ptr<Member>> members_;
  std::string wrong_;
};

}  // namespace klamm::broker::sim
