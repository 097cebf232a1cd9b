#pragma once
// Threads for what blocks on the disk. They come when there is work for them and stay.
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "storage/env/background.h"

namespace klamm::broker {

class WorkerThreads : public storage::Workers {
 public:
  explicit WorkerThreads(size_t threads_max) : threads_max_(threads_max) {}
  ~WorkerThreads() override { finish(); }

  void run(std::move_only_function<void()> task) override;
  // Does what is still to be done and ends the threads. What comes later is done at once.
  void finish();

 private:
  void work();

  const size_t threads_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::move_only_function<void()>> tasks_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool finishing_ = false;
};

}  // namespace klamm::broker
