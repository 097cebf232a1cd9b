#pragma once
// Sees into all nodes at once, and judges what no client can see while it lasts: a replica that
// could be elected lacks what is committed, or a move is over before its new replicas are in sync.
#include <map>
#include <string>
#include <utility>

#include "broker/sim/sim_cluster.h"

namespace klamm::broker::sim {

class Onlooker {
 public:
  // `synced`: what is committed must be on the medium of all who are in sync (flush.messages=1).
  Onlooker(SimCluster& cluster, bool synced) : cluster_(cluster), synced_(synced) {}
  // Looks every few milliseconds from now on.
  void start();
  // The first fault seen, empty when there is none.
  const std::string& wrong() const { return wrong_; }

 private:
  void look();
  void look_at(const replication::MetadataImage& image, const replication::TopicImage& topic,
               int32_t index);
  void judge_move(const replication::TopicImage& topic, int32_t index);
  // The node of a broker while it lives the life that the image tells of; else null.
  Node* in_office(const replication::MetadataImage& image, int32_t broker);
  bool has_synced(const Partition& replica);
  void say(const replication::TopicImage& topic, int32_t index, const std::string& what);

  SimCluster& cluster_;
  bool synced_;
  std::map<std::pair<protocol::Uuid, int32_t>, replication::PartitionImage> before_;
  std::map<const Partition*, std::weak_ptr<const Partition>> synced_once_;
  std::string wrong_;
};

}  // namespace klamm::broker::sim
