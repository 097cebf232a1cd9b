#pragma once
// Moves logs of one shard between the directories of this node (KIP-113): copies in slices while
// the log is in use, then puts the copy in its place. A move that a stop interrupts goes on at the
// next start.
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "broker/cluster/throttle.h"
#include "broker/replicas.h"
#include "broker/timers.h"
#include "storage/log_move.h"

namespace klamm::broker {

class LogMover {
 public:
  // Told when a log lies in its new directory.
  using Moved = std::function<void(const storage::TopicPartition&, const Uuid& directory)>;

  LogMover(const BrokerConfig& config, Throttle& throttle, Replicas& replicas, Timers& timers,
           const storage::Clock& clock, storage::Random& random, storage::Background& background,
           Moved moved)
      : config_(config),
        throttle_(throttle),
        replicas_(replicas),
        timers_(timers),
        clock_(clock),
        random_(random),
        background_(background),
        moved_(std::move(moved)) {}

  // Begins to move a log that this shard owns. Moving it to where it is ends a move elsewhere. The
  // errors of Replicas::find, KAFKA_STORAGE_ERROR when a directory is offline.
  Result<> move(const storage::TopicPartition& id, storage::LogDir& to);
  // A copy that an earlier run of the broker has begun.
  void resume(const storage::TopicPartition& id, storage::LogDir& to, std::string folder) {
    pending_[id] = {&to, std::move(folder)};
  }
  void start() {
    if (!pending_.empty()) {
      timers_.after(clock_, 0, [this] { resume_all(); });
    }
  }

  struct Copy {
    const storage::LogDir* dir;
    int64_t size;
    int64_t lag;
  };
  std::optional<Copy> copy_of(const storage::TopicPartition& id);

 private:
  struct Move {
    storage::LogDir* to = nullptr;
    std::unique_ptr<storage::LogMove> copy;
    std::shared_ptr<bool> flushing;  // true while somebody else holds its files
    int flushes = 0;
  };
  using Moves = std::map<storage::TopicPartition, Move>;

  void resume_all();
  Result<> begin(const storage::TopicPartition& id, storage::LogDir& to, std::string folder);
  void go_on();
  Result<bool> advance(const storage::TopicPartition& id, Move& move);
  Result<> finish(const storage::TopicPartition& id, Move& move, Partition& partition);
  Result<> begin_flush(const storage::TopicPartition& id, Move& move);
  void give_up(Moves::iterator move);

  const BrokerConfig& config_;
  Throttle& throttle_;
  Replicas& replicas_;
  Timers& timers_;
  const storage::Clock& clock_;
  storage::Random& random_;
  storage::Background& background_;
  Moved moved_;
  Moves moves_;
  std::map<storage::TopicPartition, std::pair<storage::LogDir*, std::string>> pending_;
  bool running_ = false;
};

}  // namespace klamm::broker
