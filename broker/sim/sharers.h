#pragma once
// Members of a share group that read what transactions have committed in the simulated cluster, and
// their judge: each committed record is given to somebody, to one at a time as long as its leader
// stays, and to nobody any more once it was told that it is acknowledged; others are given to
// nobody.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "broker/sim/clients.h"
#include "broker/sim/sim_cluster.h"
#include "protocol/generated/share_fetch_response.h"
#include "protocol/generated/share_group_heartbeat_response.h"

namespace klamm::broker::sim {

class Sharers {
 public:
  // So many of them read each partition.
  Sharers(SimCluster& cluster, std::string topic, int32_t partitions, int readers);

  // Configures the group; to be called until that is done.
  bool create();
  void start(const protocol::Uuid& topic_id);
  void stop() { stopping_ = true; }
  bool is_idle() const;
  size_t acknowledged() const { return acked_.size(); }
  bool have_all(const std::set<std::string>& committed) const;
  // Empty, or what is wrong; `committed` is all that readers of committed records find.
  std::string check(const std::set<std::string>& committed) const;

 private:
  // What a reader has, and has not said anything of.
  struct Held {
    std::vector<std::pair<int64_t, int64_t>> ranges;  // offsets
    std::vector<std::string> values;
  };
  struct Reader {
    int32_t partition;
    std::string member;
    int32_t session_epoch = 0;
    size_t node = 0;
    size_t guess = 0;
    Held held;
    bool busy = false;
  };
  // To whom a record is out, since when at the latest, and until when at the earliest.
  struct Loan {
    const Reader* reader;
    std::string member;
    int64_t asked_ms;
    int64_t given_ms;
    int32_t leader_epoch;
  };

  uint64_t chance(uint64_t of) { return cluster_.random().next() % of; }
  void heartbeat();
  void note_assignment(const protocol::ShareGroupHeartbeatResponse& answer);
  void go_on(Reader& reader);
  void begin_life(Reader& reader);
  void fetch(Reader& reader);
  void take(Reader& reader, const protocol::ShareFetchResponse::PartitionData& data,
            int64_t asked_ms, const Leader& leader);
  void give(Reader& reader, const std::string& value, int64_t asked_ms, const Leader& leader);
  void acknowledge(Reader& reader);

  SimCluster& cluster_;
  std::string topic_;
  protocol::Uuid topic_id_;
  bool configured_ = false;
  bool configuring_ = false;
  bool beating_ = false;
  bool stopping_ = false;
  int32_t member_epoch_ = 0;
  std::set<int32_t> assigned_;  // partitions, once and for all
  uint64_t lives_ = 0;
  std::vector<Reader> readers_;
  std::map<std::string, int64_t> given_;  // how often
  std::map<std::string, int64_t> acked_;  // when that was told
  std::map<std::string, Loan> loans_;
  std::string wrong_;
};

}  // namespace klamm::broker::sim
