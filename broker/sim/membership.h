#pragma once
// What a member of a group says and is told at a heartbeat, in the protocols whose groups share the
// partitions of one topic out: consumer (KIP-848) and streams (KIP-1071).
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "broker/sim/sim_cluster.h"

namespace klamm::broker::sim {

struct Said {
  std::string member_id;
  int32_t epoch = 0;  // 0: it joins
  std::set<int32_t> owned;
};

struct Told {
  ErrorCode error = ErrorCode::kNone;
  int32_t epoch = 0;
  std::optional<std::set<int32_t>> assigned;  // absent: as before
};

struct Membership {
  using Then = std::function<void(const Result<Told>&)>;

  std::string group;
  // Whom it goes to, what is said, and of which topic.
  std::function<void(SimCluster&, size_t node, const Said&, const std::string& topic,
                     const protocol::Uuid& topic_id, Then)>
      heartbeat;
};

Membership consumer_membership();
// Of an application with one subtopology, whose state has a changelog.
Membership streams_membership();

}  // namespace klamm::broker::sim
