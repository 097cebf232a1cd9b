#pragma once
// All that one shard of the node does for share groups (KIP-932), but for the groups themselves.
#include "broker/coordinator/share_coordinator.h"
#include "broker/share/persister.h"
#include "broker/share/share_partitions.h"
#include "broker/share/share_sessions.h"

namespace klamm::broker {

class Shares {
 public:
  explicit Shares(Broker& broker);

  ShareCoordinator& coordinator() { return coordinator_; }
  SharePersister& persister() { return persister_; }
  SharePartitions& partitions() { return partitions_; }
  ShareSessions& sessions() { return sessions_; }

  // Begins the recurring work.
  void start() { prune(); }
  // A session was opened: it is ended when its connection is gone.
  void watch_sessions();
  // Leaders have changed.
  void drop_lost();
  // Ends a member's session: what it has is given back wherever it is led.
  void close_session(const ShareSessions::Owner& owner);

 private:
  void sweep();
  void prune();

  Broker& broker_;
  ShareCoordinator coordinator_;
  SharePersister persister_;
  SharePartitions partitions_;
  ShareSessions sessions_;
  bool sweeps_ = false;
};

}  // namespace klamm::broker
