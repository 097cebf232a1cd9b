#pragma once
// Bounds the bytes per second that replicas which catch up may move (KIP-73), so that clients keep
// their share. One for each side of the node, for all its shards.
#include <array>
#include <atomic>
#include <string>

#include "broker/config/broker_config.h"
#include "replication/metadata/image.h"

namespace klamm::broker {

class Throttle {
 public:
  // `rate_key`: the broker's key with the bytes per second; `replicas_key`: the topic's key that
  // says whose they are, or null where every replica is meant.
  Throttle(const char* rate_key, const char* replicas_key)
      : rate_key_(rate_key), replicas_key_(replicas_key) {}

  // Whether this node's replica of the partition is one that is bounded.
  bool applies(const BrokerConfig& config, const replication::MetadataImage& image,
               const std::string& topic, int32_t partition) const;
  // Whether the bound is passed at this moment.
  bool is_exceeded(const BrokerConfig& config, int64_t now_ms) const;
  // Bytes of a bounded replica have moved.
  void record(int64_t bytes, int64_t now_ms);

 private:
  static constexpr int64_t kWindows = 11;
  static constexpr int64_t kWindowMs = 1'000;
  struct Window {
    std::atomic<int64_t> number = -1;
    std::atomic<int64_t> bytes = 0;
  };

  const char* rate_key_;
  const char* replicas_key_;
  std::array<Window, kWindows> windows_;
};

}  // namespace klamm::broker
