#pragma once
// One thread's event loop and what its connections share: scratch memory for reading and writing.
// All but is_here and post runs on that thread.
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <vector>

#include "broker/broker.h"
#include "broker/handlers/reply.h"
#include "broker/timers.h"
#include "storage/env/clock.h"

namespace klamm::broker {

class Shard : public ReplyRoute {
 public:
  // Large enough that copying through it costs less than sendfile does here.
  static constexpr size_t kWriteScratchSize = 1 << 20;
  static constexpr size_t kReadScratchSize = 64 * 1024;

  Shard(Timers& timers, const storage::Clock& clock, storage::Background& background);

  // Serves until stop is called.
  void run();
  void stop() { io_.stop(); }
  bool is_here() const override { return current_ == this; }
  void post(std::move_only_function<void()> task) override { asio::post(io_, std::move(task)); }

  asio::io_context& io() { return io_; }
  const storage::Clock& clock() const { return clock_; }
  storage::Background& background() { return background_; }
  uint8_t* read_scratch() { return read_scratch_.data(); }
  // Taken on first use; an idle broker does without.
  uint8_t* write_scratch();

 private:
  void arm();

  static thread_local const Shard* current_;

  asio::io_context io_{1};
  Timers& timers_;
  const storage::Clock& clock_;
  storage::Background& background_;
  asio::steady_timer timer_{io_};
  std::vector<uint8_t> read_scratch_;
  std::unique_ptr<uint8_t[]> write_scratch_;
};

// The event loops of all shards as the mailboxes of the node.
class ShardMailboxes : public Mailboxes {
 public:
  explicit ShardMailboxes(std::vector<std::unique_ptr<Shard>>& shards) : shards_(shards) {}
  void post(size_t shard, Task task) override { shards_[shard]->post(std::move(task)); }

 private:
  std::vector<std::unique_ptr<Shard>>& shards_;
};

}  // namespace klamm::broker
