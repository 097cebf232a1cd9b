#pragma once
// A consumer for each partition of the simulated cluster that also commits how far it has come, and
// the checks of both: what was once read is what the log holds in the end, and a commit that was
// acknowledged is not forgotten.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "broker/sim/sim_cluster.h"

namespace klamm::broker::sim {

class Readers {
 public:
  Readers(SimCluster& cluster, std::string topic, int32_t partitions);

  void start(const protocol::Uuid& topic_id);
  void stop() { stopping_ = true; }
  bool is_idle() const;
  size_t records_read() const;
  size_t commits() const { return commits_; }
  // What was read, by offset; to be compared with the log.
  const std::map<int64_t, std::string>& seen(int32_t partition) const {
    return readers_.at(static_cast<size_t>(partition)).seen;
  }
  // Empty, or what contradicts itself.
  const std::string& wrong() const { return wrong_; }
  // Asks for the committed offsets, for a cluster that has healed. Calls back with what is wrong.
  void check_commits(std::function<void(std::string)> done);

 private:
  struct Reader {
    int32_t partition;
    int64_t position = 0;
    int64_t committed = -1;  // acknowledged
    int64_t tried = -1;      // sent, whatever became of it
    // Of commits without an answer: a node that stood still may do them long after a later one.
    std::set<int64_t> unsure;
    std::map<int64_t, std::string> seen;
    bool fetching = false;
    bool committing = false;
    size_t guess = 0;
  };
  void fetch(Reader& reader);
  void take(Reader& reader, const protocol::Bytes& records);
  void commit(Reader& reader);
  void ask_committed(std::function<void(std::string)> done, int tries);

  SimCluster& cluster_;
  std::string topic_;
  protocol::Uuid topic_id_;
  bool stopping_ = false;
  size_t commits_ = 0;
  std::string wrong_;
  std::vector<Reader> readers_;
};

}  // namespace klamm::broker::sim
