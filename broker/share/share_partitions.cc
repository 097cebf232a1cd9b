#include "broker/share/share_partitions.h"

#include <algorithm>
#include <set>

#include "broker/broker.h"

namespace klamm::broker {

using protocol::BatchView;
using replication::ConfigResource;
using replication::Partition;

namespace {

// A group's own value, or the default of its kind of groups on this broker.
std::string group_value(const Broker& by, const std::string& group_id, const std::string& key) {
  const auto& own = by.image()->config(ConfigResource::kGroup, group_id);
  const auto found = own.find(key);
  return found == own.end() ? by.config().get("group." + key) : found->second;
}

// One that brokers have no default for.
std::string own_value(const Broker& by, const std::string& group_id, const std::string& key,
                      const char* fallback) {
  const auto& own = by.image()->config(ConfigResource::kGroup, group_id);
  const auto found = own.find(key);
  return found == own.end() ? fallback : found->second;
}

// "PnDTnHnMn.nS" (ISO 8601) in milliseconds; what cannot be read counts nothing.
int64_t duration_ms(const std::string& text) {
  int64_t total = 0;
  double number = 0;
  size_t at = 0;
  while (at < text.size()) {
    size_t used = 0;
    if (std::isdigit(static_cast<unsigned char>(text[at])) != 0) {
      number = std::stod(text.substr(at), &used);
      at += used;
      continue;
    }
    const double unit = text[at] == 'D'   ? 86'400'000.0
                        : text[at] == 'H' ? 3'600'000.0
                        : text[at] == 'M' ? 60'000.0
                        : text[at] == 'S' ? 1'000.0
                                          : 0.0;
    total += static_cast<int64_t>(number * unit);
    number = 0;
    ++at;
  }
  return total;
}

// What its leader, or its coordinator, has to say to a client.
Error told(const Error& error) {
  switch (error.code) {
    case ErrorCode::kNotCoordinator:
    case ErrorCode::kCoordinatorLoadInProgress:
      return {ErrorCode::kCoordinatorNotAvailable, error.why};
    case ErrorCode::kFencedLeaderEpoch:
    case ErrorCode::kFencedStateEpoch: return {ErrorCode::kNotLeaderOrFollower, error.why};
    case ErrorCode::kInvalidRequest: return {ErrorCode::kUnknownServerError, error.why};
    default: return error;
  }
}

// The batches from `offset` on, as many as may be wanted, and those of transactions that were
// aborted, if those are not to be seen.
struct Found {
  std::vector<BatchRange> batches;
  std::vector<BatchRange> aborted;
  size_t bytes = 0;
};

Result<Found> look(storage::Log& log, int64_t offset, int64_t bound, const AcquireTerms& terms,
                   int64_t bytes_max, bool committed) {
  Found found;
  storage::TxnIndex aborted;
  if (committed) {
    TRY(aborted, log.aborted_between(offset, bound));
  }
  int64_t records = 0;
  TRY_VOID(log.visit(offset, [&](const BatchView& batch) {
    const bool is_first = found.batches.empty();
    if (batch.base_offset() >= bound || records >= terms.records_max ||
        (!is_first && found.bytes + batch.size() > static_cast<size_t>(bytes_max))) {
      return false;
    }
    const BatchRange range{batch.base_offset(), batch.base_offset() + batch.last_offset_delta()};
    found.batches.push_back(range);
    found.bytes += batch.size();
    records += range.last - std::max(range.first, offset) + 1;
    const bool is_aborted = batch.is_transactional() && !batch.is_control() &&
                            std::ranges::any_of(aborted, [&](const auto& transaction) {
                              return transaction.producer_id == batch.producer_id() &&
                                     range.first >= transaction.first_offset &&
                                     range.last <= transaction.last_offset;
                            });
    if (is_aborted) {
      found.aborted.push_back(range);
    }
    return true;
  }));
  return found;
}

}  // namespace

int64_t ShareReading::count() const {
  int64_t records = 0;
  for (const auto& range : acquired) {
    records += range.last - range.first + 1;
  }
  return records;
}

ShareLimits share_limits(const Broker& by, const std::string& group_id) {
  const auto number = [&](const char* key) { return std::stoll(group_value(by, group_id, key)); };
  return {.lock_ms = static_cast<int32_t>(number("share.record.lock.duration.ms")),
          .deliveries_max = static_cast<int16_t>(number("share.delivery.count.limit")),
          .locks_max = number("share.partition.max.record.locks"),
          .renewal = own_value(by, group_id, "share.renew.acknowledge.enable", "true") == "true"};
}

void SharePartitions::notify(Hosted& hosted) {
  for (const auto& watcher : std::exchange(hosted.watchers, {})) {
    if (const auto alive = watcher.lock()) {
      alive->notify();
    }
  }
}

void SharePartitions::drop(const SharePartitionKey& key) {
  const auto found = hosted_.find(key);
  if (found == hosted_.end()) {
    return;
  }
  const HostedPtr hosted = found->second;
  hosted_.erase(found);
  if (hosted->armed_for) {
    broker_.timers().cancel(hosted->timer);
    hosted->armed_for.reset();
  }
  notify(*hosted);
}

void SharePartitions::drop_lost() {
  std::vector<SharePartitionKey> lost;
  for (const auto& [key, hosted] : hosted_) {
    const auto led = broker_.replicas().find(key.topic_id, key.partition);
    if (!led || (*led)->leader_epoch() != hosted->leader_epoch) {
      lost.push_back(key);
    }
  }
  for (const auto& key : lost) {
    drop(key);
  }
}

Result<SharePartitions::HostedPtr> SharePartitions::find(const SharePartitionKey& key,
                                                         bool create) {
  TRY(Partition* const led, broker_.replicas().find(key.topic_id, key.partition));
  const auto known = hosted_.find(key);
  if (known != hosted_.end() && known->second->leader_epoch != led->leader_epoch()) {
    drop(key);
  } else if (known != hosted_.end()) {
    return known->second;
  }
  if (!create) {
    return fail(ErrorCode::kUnknownTopicOrPartition, "The group was given nothing of it here.");
  }
  auto hosted = std::make_shared<Hosted>(led->leader_epoch());
  hosted_[key] = hosted;
  load(key, hosted);
  return hosted;
}

void SharePartitions::load(const SharePartitionKey& key, const HostedPtr& hosted) {
  persister_.read(key, hosted->leader_epoch,
                  [this, key, weak = std::weak_ptr(hosted)](const auto& state) {
                    if (const auto alive = weak.lock()) {
                      loaded(key, *alive, state);
                      notify(*alive);
                    }
                  });
}

Result<int64_t> SharePartitions::first_offset(const SharePartitionKey& key, int64_t kept) {
  TRY(Partition* const led, broker_.replicas().find(key.topic_id, key.partition));
  if (kept != -1) {
    return std::max(kept, led->log().start_offset());
  }
  const std::string reset = own_value(broker_, key.group_id, "share.auto.offset.reset", "latest");
  if (reset == "earliest") {
    return led->log().start_offset();
  }
  if (reset.starts_with("by_duration:")) {
    const int64_t since =
        broker_.clock().wall_ms() - duration_ms(reset.substr(reset.find(':') + 1));
    TRY(const auto found, led->log().find_timestamp(since));
    return found.offset < 0 ? led->high_watermark() : found.offset;
  }
  return led->high_watermark();
}

void SharePartitions::loaded(const SharePartitionKey& key, Hosted& hosted,
                             const Result<SharePartitionState>& state) {
  if (!state) {
    hosted.failure = told(state.error());
    return;
  }
  const auto start = first_offset(key, state->start_offset);
  if (!start) {
    hosted.failure = start.error();
    return;
  }
  hosted.state_epoch = state->state_epoch;
  hosted.partition.emplace(*start, state->batches);
}

Result<ShareReading> SharePartitions::acquire(const SharePartitionKey& key, SharePartition& shared,
                                              const AcquireTerms& terms, int64_t bytes_max) {
  TRY(Partition* const led, broker_.replicas().find(key.topic_id, key.partition));
  storage::Log& log = led->log();
  shared.advance_start(log.start_offset());
  const ShareLimits limits = share_limits(broker_, key.group_id);
  const bool committed =
      own_value(broker_, key.group_id, "share.isolation.level", "") == "read_committed";
  const int64_t bound = committed ? led->last_stable_offset() : led->high_watermark();
  const int64_t offset = shared.fetch_offset();
  ShareReading reading;
  if (offset >= bound || !shared.can_acquire(limits)) {
    return reading;
  }
  TRY(const Found found, look(log, offset, bound, terms, bytes_max, committed));
  reading.acquired = shared.acquire(terms, found.batches, limits, broker_.clock().monotonic_ms());
  for (const BatchRange& aborted : found.aborted) {
    shared.archive(aborted, reading.acquired);
  }
  if (reading.acquired.empty()) {
    return reading;
  }
  const int64_t first = reading.acquired.front().first;
  const int64_t last = reading.acquired.back().last;
  const auto end = std::ranges::find_if(
      found.batches, [&](const BatchRange& batch) { return batch.last >= last; });
  TRY(reading.records, log.read(first, found.bytes, end->last + 1, true));
  return reading;
}

ShareReading SharePartitions::read(const SharePartitionKey& key, const AcquireTerms& terms,
                                   int64_t bytes_max,
                                   const std::weak_ptr<replication::Watcher>& watcher) {
  const auto found = find(key, true);
  if (!found) {
    return {.error = found.error().code, .why = found.error().why};
  }
  const HostedPtr& hosted = *found;
  if (hosted->failure) {
    const Error failure = *hosted->failure;
    drop(key);
    return {.error = failure.code, .why = failure.why};
  }
  ShareReading reading;
  if (hosted->partition) {
    auto acquired = acquire(key, *hosted->partition, terms, bytes_max);
    if (!acquired) {
      return {.error = acquired.error().code, .why = acquired.error().why};
    }
    reading = std::move(*acquired);
    arm(key, hosted);
  }
  if (reading.acquired.empty() && !watcher.expired()) {
    // Whoever has waited in vain is gone.
    std::erase_if(hosted->watchers, [](const auto& each) { return each.expired(); });
    hosted->watchers.push_back(watcher);
    if (const auto led = broker_.replicas().find(key.topic_id, key.partition)) {
      (*led)->watch(watcher);
    }
  }
  return reading;
}

void SharePartitions::keep(const SharePartitionKey& key, const HostedPtr& hosted,
                           const ShareChange& change, std::function<void(Result<>)> done) {
  if (change.id == 0) {
    arm(key, hosted);
    return done({});
  }
  const ShareStateUpdate update{hosted->state_epoch, hosted->leader_epoch,
                                hosted->partition->start_offset(),
                                hosted->partition->complete_count(), change.batches};
  persister_.write(
      key, update,
      [this, key, weak = std::weak_ptr(hosted), id = change.id,
       done = std::move(done)](ErrorCode code) {
        const auto alive = weak.lock();
        if (alive == nullptr) {
          return done(fail(ErrorCode::kNotLeaderOrFollower, "The partition has moved."));
        }
        alive->partition->settle(id, code == ErrorCode::kNone, broker_.clock().monotonic_ms());
        arm(key, alive);
        const Error error = told({code, "The acknowledgement could not be kept."});
        if (error.code == ErrorCode::kNotLeaderOrFollower ||
            error.code == ErrorCode::kUnknownTopicOrPartition) {
          drop(key);
        } else {
          notify(*alive);
        }
        done(code == ErrorCode::kNone ? Result<>() : std::unexpected(error));
      });
}

void SharePartitions::acknowledge(const SharePartitionKey& key, const std::string& member_id,
                                  const std::vector<Acknowledgement>& acknowledgements,
                                  std::function<void(Result<>)> done) {
  const auto hosted = find(key, false);
  if (!hosted) {
    return done(std::unexpected(hosted.error()));
  }
  if (!(*hosted)->partition) {
    return done(fail(ErrorCode::kInvalidRecordState, "Nothing was given out yet."));
  }
  const auto change = (*hosted)->partition->acknowledge(member_id, acknowledgements,
                                                        share_limits(broker_, key.group_id),
                                                        broker_.clock().monotonic_ms());
  if (!change) {
    return done(std::unexpected(change.error()));
  }
  keep(key, *hosted, *change, std::move(done));
}

void SharePartitions::release(const SharePartitionKey& key, const std::string& member_id,
                              std::function<void(Result<>)> done) {
  const auto hosted = find(key, false);
  if (!hosted || !(*hosted)->partition) {
    return done({});
  }
  const auto change = (*hosted)->partition->release(member_id, share_limits(broker_, key.group_id));
  keep(key, *hosted, change,
       [this, key, weak = std::weak_ptr(*hosted), done = std::move(done)](const Result<>& kept) {
         const auto alive = weak.lock();
         const auto known = hosted_.find(key);
         if (alive && known != hosted_.end() && known->second == alive &&
             alive->partition->is_idle()) {
           drop(key);
         }
         done(kept);
       });
}

// Locks run out one after the other; the timer stands at the first.
void SharePartitions::arm(const SharePartitionKey& key, const HostedPtr& hosted) {
  const auto deadline = hosted->partition->next_deadline();
  if (deadline == hosted->armed_for) {
    return;
  }
  if (hosted->armed_for) {
    broker_.timers().cancel(hosted->timer);
  }
  hosted->armed_for = deadline;
  if (!deadline) {
    return;
  }
  const int64_t now = broker_.clock().monotonic_ms();
  hosted->timer =
      broker_.timers().after(broker_.clock(), std::max<int64_t>(0, *deadline - now),
                             [this, key, weak = std::weak_ptr(hosted)] {
                               if (const auto alive = weak.lock()) {
                                 alive->armed_for.reset();
                                 keep(key, alive,
                                      alive->partition->expire(share_limits(broker_, key.group_id),
                                                               broker_.clock().monotonic_ms()),
                                      [](const Result<>&) {});
                                 arm(key, alive);
                               }
                             });
}

}  // namespace klamm::broker
