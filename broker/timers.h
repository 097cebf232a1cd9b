#pragma once
// Callbacks at a later time, on the shard's thread. Holds no clock: the shell calls run_due with
// the time and arms one real timer for next_deadline().
#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "storage/env/clock.h"

namespace klamm::broker {

class Timers {
 public:
  using Id = std::pair<int64_t, uint64_t>;  // deadline, serial number
  using Callback = std::function<void()>;

  // `at_ms` is monotonic time.
  Id at(int64_t at_ms, Callback callback) {
    const Id id{at_ms, next_++};
    const bool is_first = callbacks_.empty() || id < callbacks_.begin()->first;
    callbacks_.emplace(id, std::move(callback));
    if (is_first && on_earlier_) {
      on_earlier_();
    }
    return id;
  }
  Id after(const storage::Clock& clock, int64_t wait_ms, Callback callback) {
    return at(clock.monotonic_ms() + wait_ms, std::move(callback));
  }
  void cancel(const Id& id) { callbacks_.erase(id); }
  std::optional<int64_t> next_deadline() const {
    return callbacks_.empty() ? std::nullopt : std::optional(callbacks_.begin()->first.first);
  }
  void run_due(int64_t now_ms) {
    while (!callbacks_.empty() && callbacks_.begin()->first.first <= now_ms) {
      const auto callback = std::move(callbacks_.begin()->second);
      callbacks_.erase(callbacks_.begin());
      callback();
    }
  }
  // Called when a deadline came before all others.
  void on_earlier(Callback callback) { on_earlier_ = std::move(callback); }
  size_t size() const { return callbacks_.size(); }

 private:
  std::map<Id, Callback> callbacks_;
  uint64_t next_ = 0;
  Callback on_earlier_;
};

}  // namespace klamm::broker
