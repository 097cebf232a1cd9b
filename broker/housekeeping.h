#pragma once
// The recurring work on all logs that one shard owns, in slices between which the shard serves its
// clients: retention every log.retention.check.interval.ms, and once after an unclean stop the
// recovery of every log that nobody has asked for yet, on other threads and with progress in the
// log.
#include <vector>

#include "broker/replicas.h"
#include "broker/timers.h"

namespace klamm::broker {

class Housekeeping {
 public:
  Housekeeping(const BrokerConfig& config, Replicas& replicas, Timers& timers,
               const storage::Clock& clock);

  void start(bool recover);
  // Logs that are still to be recovered.
  size_t recovering() const { return to_recover_.size() + open_recoveries_; }

 private:
  void look();
  void slice();
  void recover_more();

  Replicas& replicas_;
  Timers& timers_;
  const storage::Clock& clock_;
  int64_t interval_ms_;
  int64_t producer_expiry_ms_;
  std::vector<storage::TopicPartition> to_keep_;
  std::vector<storage::TopicPartition> to_recover_;
  size_t recoveries_ = 0;
  size_t open_recoveries_ = 0;
};

}  // namespace klamm::broker
