#include "broker/net/shard.h"

#include <algorithm>
#include <asio/executor_work_guard.hpp>

namespace klamm::broker {

thread_local const Shard* Shard::current_ = nullptr;

Shard::Shard(Timers& timers, const storage::Clock& clock, storage::Background& background)
    : timers_(timers), clock_(clock), background_(background), read_scratch_(kReadScratchSize) {
  timers_.on_earlier([this] { arm(); });
  arm();
}

void Shard::run() {
  const auto forever = asio::make_work_guard(io_);
  current_ = this;
  io_.run();
  current_ = nullptr;
}

uint8_t* Shard::write_scratch() {
  if (write_scratch_ == nullptr) {
    write_scratch_ = std::make_unique_for_overwrite<uint8_t[]>(kWriteScratchSize);
  }
  return write_scratch_.get();
}

void Shard::arm() {
  const auto deadline = timers_.next_deadline();
  if (!deadline) {
    return;
  }
  timer_.expires_after(
      std::chrono::milliseconds(std::max<int64_t>(0, *deadline - clock_.monotonic_ms())));
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) {
      timers_.run_due(clock_.monotonic_ms());
      arm();
    }
  });
}

}  // namespace klamm::broker
