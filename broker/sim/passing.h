#pragma once
// Topics of one name that come and go while everything else happens, written to and deleted as soon
// as they are there: what is late for one of them must do nothing to the next.
#include <string>

#include "broker/sim/sim_cluster.h"
#include "protocol/base/uuid.h"

namespace klamm::broker::sim {

class Passing {
 public:
  Passing(SimCluster& cluster, std::string name, int32_t partitions)
      : cluster_(cluster), name_(std::move(name)), partitions_(partitions) {}

  void start() { create(); }
  // The next one stays.
  void stop() { stopping_ = true; }
  bool is_idle() const { return stayed_; }
  size_t deleted() const { return deleted_; }
  // What is wrong with the replicas of the one that has stayed; empty if nothing. All nodes must be
  // up.
  std::string check();

 private:
  void create();
  void write();
  void remove();
  Result<bool> has_foreign_record(Node& node, int32_t partition);
  void in_a_while(int64_t max_ms, void (Passing::*next)());
  size_t any_node() { return cluster_.random().next() % cluster_.size(); }

  SimCluster& cluster_;
  std::string name_;
  int32_t partitions_;
  protocol::Uuid id_;
  bool stopping_ = false;
  bool stayed_ = false;
  size_t deleted_ = 0;
};

}  // namespace klamm::broker::sim
