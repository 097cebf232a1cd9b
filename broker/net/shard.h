#pragma once
// One thread's event loop and what its connections share: scratch memory for reading and writing,
// counters and the request handler. Everything here runs on that thread.
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <vector>

#include "broker/timers.h"
#include "storage/env/clock.h"

namespace klamm::broker {

class Shard {
 public:
  // Large enough that copying through it costs less than sendfile does here.
  static constexpr size_t kWriteScratchSize = 1 << 20;
  static constexpr size_t kReadScratchSize = 64 * 1024;

  Shard(Timers& timers, const storage::Clock& clock);

  asio::io_context& io() { return io_; }
  const storage::Clock& clock() const { return clock_; }
  uint8_t* read_scratch() { return read_scratch_.data(); }
  // Taken on first use; an idle broker does without.
  uint8_t* write_scratch();

 private:
  void arm();

  asio::io_context io_{1};
  Timers& timers_;
  const storage::Clock& clock_;
  asio::steady_timer timer_{io_};
  std::vector<uint8_t> read_scratch_;
  std::unique_ptr<uint8_t[]> write_scratch_;
};

}  // namespace klamm::broker
