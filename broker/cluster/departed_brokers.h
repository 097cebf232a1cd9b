#pragma once
// Brokers that were fenced a moment ago and had not asked for it. Clients are told of them a little
// longer, as Apache Kafka tells of a broker until its session has timed out: a client that hears of
// none any more may drop it with all that it was about to ask anew elsewhere (librdkafka waits for
// the coordinator that it had, and for ever).
#include <cstdint>
#include <map>

#include "replication/metadata/image.h"

namespace klamm::broker {

class DepartedBrokers {
 public:
  void follow(const replication::MetadataImage& before, const replication::MetadataImage& now,
              int64_t now_ms) {
    for (const auto& [id, broker] : now.brokers) {
      const auto known = before.brokers.find(id);
      if (!broker.fenced) {
        since_ms_.erase(id);
      } else if (known != before.brokers.end() && is_active(known->second)) {
        since_ms_[id] = now_ms;
      }
    }
  }
  // Whether the fenced broker went less than `wait_ms` ago.
  bool has(int32_t broker, int64_t now_ms, int64_t wait_ms) const {
    const auto found = since_ms_.find(broker);
    return found != since_ms_.end() && now_ms - found->second < wait_ms;
  }

 private:
  std::map<int32_t, int64_t> since_ms_;  // monotonic
};

}  // namespace klamm::broker
