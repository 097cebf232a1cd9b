#include "broker/net/workers.h"

namespace klamm::broker {

void WorkerThreads::run(std::move_only_function<void()> task) {
  {
    std::unique_lock lock(mutex_);
    if (finishing_) {
      lock.unlock();
      return task();
    }
    tasks_.push_back(std::move(task));
    if (idle_ < tasks_.size() && threads_.size() < threads_max_) {
      threads_.emplace_back([this] { work(); });
    }
  }
  changed_.notify_one();
}

void WorkerThreads::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_;
    changed_.wait(lock, [this] { return !tasks_.empty() || finishing_; });
    --idle_;
    if (tasks_.empty()) {
      return;
    }
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
}

void WorkerThreads::finish() {
  {
    const std::lock_guard lock(mutex_);
    finishing_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) {
    thread.join();
  }
  threads_.clear();
}

}  // namespace klamm::broker
