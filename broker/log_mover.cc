#include "broker/log_mover.h"

#include <spdlog/spdlog.h>

namespace klamm::broker {

using storage::LogDir;
using storage::TopicPartition;

namespace {

constexpr uint64_t kSliceBytes = 1 << 20;
constexpr int64_t kPauseMs = 1;
constexpr int kFlushesMax = 3;

}  // namespace

Result<> LogMover::move(const TopicPartition& id, LogDir& to) {
  TRY(Partition* const partition, replicas_.find_replica(id));
  (void)partition;
  if (to.is_offline()) {
    return fail(ErrorCode::kKafkaStorageError, "the log directory " + to.path() + " is offline");
  }
  const auto known = moves_.find(id);
  if (known != moves_.end() && known->second.to == &to) {
    return {};
  }
  if (known != moves_.end()) {
    give_up(known);
  }
  return replicas_.home(id) == &to ? Result<>() : begin(id, to, to.future_folder(id, random_));
}

void LogMover::resume_all() {
  for (auto& [id, where] : std::exchange(pending_, {})) {
    if (const auto begun = begin(id, *where.first, where.second); !begun) {
      spdlog::error("cannot go on moving {}: {}", id.directory(), begun.error().why);
    }
  }
}

Result<> LogMover::begin(const TopicPartition& id, LogDir& to, std::string folder) {
  TRY(Partition* const partition, replicas_.find_replica(id));
  TRY(auto copy,
      storage::LogMove::begin(to.disk(), std::move(folder), partition->log(), clock_.wall_ms()));
  spdlog::info("moving {} to {}", id.directory(), to.path());
  moves_[id] = {&to, std::move(copy), std::make_shared<bool>(false)};
  if (!running_) {
    running_ = true;
    timers_.after(clock_, kPauseMs, [this] { go_on(); });
  }
  return {};
}

void LogMover::go_on() {
  for (auto it = moves_.begin(); it != moves_.end();) {
    const auto current = it++;
    const auto done = advance(current->first, current->second);
    if (!done) {
      spdlog::error("cannot move {}: {}", current->first.directory(), done.error().why);
      give_up(current);
    } else if (*done) {
      moves_.erase(current);
    }
  }
  running_ = !moves_.empty();
  if (running_) {
    timers_.after(clock_, kPauseMs, [this] { go_on(); });
  }
}

// True when the move is over.
Result<bool> LogMover::advance(const TopicPartition& id, Move& move) {
  const int64_t now = clock_.monotonic_ms();
  const bool is_bounded = throttle_.applies(config_, *replicas_.image(), id.topic, id.partition);
  if (*move.flushing || (is_bounded && throttle_.is_exceeded(config_, now))) {
    return false;
  }
  TRY(Partition* const partition, replicas_.find_replica(id));
  const int64_t size_before = move.copy->copy().size();
  TRY(const bool caught_up, move.copy->step(partition->log(), kSliceBytes, clock_.wall_ms()));
  if (is_bounded) {
    throttle_.record(move.copy->copy().size() - size_before, now);
  }
  if (!caught_up || partition->is_flushing()) {
    return false;
  }
  // What the original has on the medium must be there. Most of it gets there while the original
  // goes on; a partition that is never quiet waits in the end, for a little.
  storage::Log& copy = move.copy->copy();
  const bool is_safe = copy.recovery_point() >= partition->log().recovery_point();
  if (!is_safe && move.flushes < kFlushesMax) {
    TRY_VOID(begin_flush(id, move));
    return false;
  }
  if (!is_safe) {
    TRY_VOID(copy.flush(clock_.wall_ms()));
  }
  TRY_VOID(finish(id, move, *partition));
  return true;
}

Result<> LogMover::begin_flush(const TopicPartition& id, Move& move) {
  TRY(auto begun, move.copy->copy().begin_flush(clock_.wall_ms()));
  const auto flush = std::make_shared<storage::LogFlush>(std::move(begun));
  *move.flushing = true;
  ++move.flushes;
  background_.run([flush] { return flush->run(); },
                  [this, id, flush, flushing = move.flushing](const Result<>& outcome) {
                    *flushing = false;
                    const auto known = moves_.find(id);
                    if (known == moves_.end() || known->second.flushing != flushing) {
                      return;
                    }
                    known->second.copy->copy().finish_flush(std::move(*flush), outcome);
                    if (!outcome) {
                      spdlog::error("cannot move {}: {}", id.directory(), outcome.error().why);
                      give_up(known);
                    }
                  });
  return {};
}

Result<> LogMover::finish(const TopicPartition& id, Move& move, Partition& partition) {
  TRY_VOID(replicas_.take_over(partition, move.copy->take(), *move.to));
  spdlog::info("moved {} to {}", id.directory(), move.to->path());
  moved_(id, move.to->directory_id());
  return {};
}

void LogMover::give_up(Moves::iterator move) {
  LogDir* const dir = move->second.to;
  if (move->second.copy->is_whole()) {
    background_.run(
        [dir, folder = move->second.copy->copy().folder()] {
          return dir->disk().remove_tree(folder);
        },
        [](const Result<>&) {});
  }
  moves_.erase(move);
}

std::optional<LogMover::Copy> LogMover::copy_of(const TopicPartition& id) {
  const auto known = moves_.find(id);
  const auto partition = replicas_.find_replica(id);
  if (known == moves_.end() || !partition) {
    return std::nullopt;
  }
  storage::LogMove& copy = *known->second.copy;
  return Copy{known->second.to, static_cast<int64_t>(copy.copy().size()),
              copy.lag((*partition)->log())};
}

}  // namespace klamm::broker
