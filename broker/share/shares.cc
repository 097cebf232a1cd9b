#include "broker/share/shares.h"

#include "broker/broker.h"

namespace klamm::broker {
namespace {

// A connection that is gone is noticed within that time.
constexpr int64_t kSweepMs = 500;

}  // namespace

Shares::Shares(Broker& broker)
    : broker_(broker),
      coordinator_(broker.config(), broker.replicas(), broker.timers(), broker.clock()),
      persister_(broker),
      partitions_(broker, persister_),
      sessions_(static_cast<size_t>(broker.config().number("group.share.max.share.sessions"))) {}

void Shares::watch_sessions() {
  if (!sweeps_) {
    sweeps_ = true;
    broker_.timers().after(broker_.clock(), kSweepMs, [this] { sweep(); });
  }
}

void Shares::drop_lost() {
  coordinator_.drop_lost();
  partitions_.drop_lost();
}

void Shares::close_session(const ShareSessions::Owner& owner) {
  for (const auto& [topic_id, partition] : sessions_.close(owner)) {
    const SharePartitionKey key{owner.first, topic_id, partition};
    broker_.at(broker_.owner(topic_id, partition), [key, member = owner.second](Broker& there) {
      there.shares().partitions().release(key, member, [](const Result<>&) {});
    });
  }
}

void Shares::sweep() {
  for (const auto& owner : sessions_.orphans()) {
    close_session(owner);
  }
  sweeps_ = false;
  if (!sessions_.is_empty()) {
    watch_sessions();
  }
}

void Shares::prune() {
  coordinator_.prune();
  broker_.timers().after(broker_.clock(),
                         broker_.config().number("share.coordinator.state.topic.prune.interval.ms"),
                         [this] { prune(); });
}

}  // namespace klamm::broker
