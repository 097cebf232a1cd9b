#pragma once
// Compacts the partitions that one shard owns, one at a time and in slices between which the shard
// does its other work.
#include <memory>
#include <set>

#include "broker/replicas.h"
#include "broker/timers.h"
#include "storage/compaction.h"

namespace klamm::broker {

class LogCleaner {
 public:
  LogCleaner(const BrokerConfig& config, Replicas& replicas, Timers& timers,
             const storage::Clock& clock, storage::Background& background);

  // Looks for work every log.cleaner.backoff.ms from now on, unless log.cleaner.enable is false.
  void start();

 private:
  void look();
  void go_on();
  void sync();
  void end(const Result<>& outcome);
  void begin_next();

  Replicas& replicas_;
  Timers& timers_;
  const storage::Clock& clock_;
  storage::Background& background_;
  bool enabled_;
  int64_t backoff_ms_;
  uint64_t map_bytes_max_;
  std::vector<std::pair<Uuid, int32_t>> waiting_;
  std::pair<Uuid, int32_t> current_;
  std::unique_ptr<storage::Compaction> compaction_;
  const storage::Log* compacted_ = nullptr;
  // Partitions whose cleaning failed; they are left alone until the next start, as in Kafka.
  std::set<std::pair<Uuid, int32_t>> uncleanable_;
};

}  // namespace klamm::broker
