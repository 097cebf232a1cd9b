#include "broker/cluster/throttle.h"

#include <algorithm>

namespace klamm::broker {

bool Throttle::applies(const BrokerConfig& config, const replication::MetadataImage& image,
                       const std::string& topic, int32_t partition) const {
  if (config.number(rate_key_) == INT64_MAX) {
    return false;
  }
  if (replicas_key_ == nullptr) {
    return true;
  }
  const auto& overrides = image.config(replication::ConfigResource::kTopic, topic);
  const auto found = overrides.find(replicas_key_);
  if (found == overrides.end() || found->second == "*") {
    return found != overrides.end();
  }
  const auto replicas = split_list(found->second);
  const std::string self = std::to_string(partition) + ":" + std::to_string(config.node_id());
  return std::find(replicas.begin(), replicas.end(), self) != replicas.end();
}

bool Throttle::is_exceeded(const BrokerConfig& config, int64_t now_ms) const {
  const int64_t now = now_ms / kWindowMs;
  int64_t bytes = 0;
  for (const Window& window : windows_) {
    const int64_t age = now - window.number.load(std::memory_order_relaxed);
    bytes += age >= 0 && age < kWindows ? window.bytes.load(std::memory_order_relaxed) : 0;
  }
  const double seconds = static_cast<double>((kWindows - 1) * kWindowMs + now_ms % kWindowMs) / 1e3;
  return static_cast<double>(bytes) / seconds > static_cast<double>(config.number(rate_key_));
}

// Two shards that begin a window at once may lose a few bytes of it, which a bound can bear.
void Throttle::record(int64_t bytes, int64_t now_ms) {
  const int64_t number = now_ms / kWindowMs;
  Window& window = windows_[static_cast<size_t>(number % kWindows)];
  if (window.number.exchange(number, std::memory_order_relaxed) != number) {
    window.bytes.store(0, std::memory_order_relaxed);
  }
  window.bytes.fetch_add(bytes, std::memory_order_relaxed);
}

}  // namespace klamm::broker
