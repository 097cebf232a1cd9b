#pragma once
// The port for work that blocks on the disk and must not hold a shard up.
#include <functional>
#include <memory>

#include "protocol/base/result.h"

namespace klamm::storage {

// Threads for work that blocks. Tasks may run at once and end in any order.
class Workers {
 public:
  virtual ~Workers() = default;
  virtual void run(std::move_only_function<void()> task) = 0;
  // Somebody is about to wait for a task: to be done here where no other thread would do it.
  virtual void help() {}
};

// Does a task at once, where nobody is held up by it: in tests and tools.
class InlineWorkers : public Workers {
 public:
  void run(std::move_only_function<void()> task) override { task(); }
};

// The workers as one shard sees them.
class Background {
 public:
  using Work = std::move_only_function<Result<>()>;
  using Done = std::move_only_function<void(Result<>)>;

  // Work under way.
  class Ticket {
   public:
    virtual ~Ticket() = default;
    // Returns once the work is done; its `done` may not have been called yet.
    virtual void wait() = 0;
  };

  virtual ~Background() = default;
  // Has `work` done on another thread, then calls `done` with its result on the shard that asked.
  virtual std::shared_ptr<Ticket> run(Work work, Done done) = 0;
};

class InlineBackground : public Background {
 public:
  std::shared_ptr<Ticket> run(Work work, Done done) override {
    done(work());
    return std::make_shared<Over>();
  }

 private:
  struct Over : Ticket {
    void wait() override {}
  };
};

}  // namespace klamm::storage
