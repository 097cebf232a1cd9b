#include "broker/coordinator/runtime.h"

#include <spdlog/spdlog.h>

#include <deque>

#include "protocol/base/utf16.h"
#include "protocol/records/builder.h"
#include "protocol/records/compression.h"

namespace klamm::broker {

using protocol::BatchBuilder;
using protocol::BatchOptions;
using protocol::BatchView;
using protocol::Bytes;
using storage::AppendOrigin;

// A shard with its sink.
class CoordinatorRuntime::Hosted : public RecordSink {
 public:
  Hosted(CoordinatorRuntime& runtime, int32_t partition)
      : runtime_(runtime), partition_(partition) {}

  void append(std::vector<CoordinatorRecord> records,
              std::function<void(ErrorCode)> committed) override {
    append({.base_sequence = runtime_.base_sequence_}, records,
           {.writer = AppendOrigin::Writer::kCoordinator}, std::move(committed));
  }
  void append_in_transaction(const InTransaction& transaction,
                             std::vector<CoordinatorRecord> records,
                             std::function<void(ErrorCode)> committed) override {
    append({.producer_id = transaction.producer.id,
            .producer_epoch = transaction.producer.epoch,
            .base_sequence = 0,  // always, as Kafka has it
            .transactional = true},
           records,
           {.writer = AppendOrigin::Writer::kCoordinator, .verification = transaction.verification},
           std::move(committed));
  }
  int32_t epoch() const override { return leader_epoch; }
  void rearm() {
    const auto deadline = shard->next_deadline();
    if (deadline == armed_for_) {
      return;
    }
    if (armed_for_) {
      runtime_.timers_.cancel(timer_);
    }
    armed_for_ = deadline;
    if (deadline) {
      const int64_t wait = std::max<int64_t>(0, *deadline - runtime_.shard_clock_.wall_ms());
      timer_ = runtime_.timers_.after(runtime_.clock_, wait, [this] {
        armed_for_.reset();
        shard->tick(runtime_.shard_clock_.wall_ms());
        rearm();
      });
    }
  }

  void stop() {
    if (armed_for_) {
      runtime_.timers_.cancel(timer_);
    }
    armed_for_.reset();
  }

  std::unique_ptr<CoordinatorShard> shard;
  int32_t leader_epoch = -1;
  bool is_ready = false;

 private:
  void append(const BatchOptions& options, const std::vector<CoordinatorRecord>& records,
              const AppendOrigin& origin, std::function<void(ErrorCode)> committed) {
    const auto found = runtime_.replicas_.find(runtime_.topic_, partition_);
    if (!found || (*found)->leader_epoch() != leader_epoch) {
      return committed(ErrorCode::kNotCoordinator);
    }
    const int64_t now = runtime_.clock_.wall_ms();
    BatchBuilder builder(options);
    for (const auto& record : records) {
      builder.add(now, record.key.span(),
                  record.value ? std::optional(record.value->span()) : std::nullopt);
    }
    const auto info = (*found)->append(builder.build(), -1, now, origin);
    if (!info) {
      return committed(told_to_client(info.error().code));
    }
    RecordPlace place{info->base_offset, options.producer_id};
    const int64_t shard_now = runtime_.shard_clock_.wall_ms();
    for (const auto& record : records) {
      shard->replay(record, place, shard_now);
      ++place.offset;
    }
    // Whoever hears of it may have something to do next, or be gone.
    (*found)->when_committed(info->last_offset + 1,
                             [&runtime = runtime_, partition = partition_,
                              committed = std::move(committed)](ErrorCode code) {
                               committed(told_to_client(code));
                               runtime.rearm(partition);
                             });
  }
  // What a failed append means to the client of a coordinator.
  static ErrorCode told_to_client(ErrorCode code) {
    switch (code) {
      case ErrorCode::kUnknownTopicOrPartition:
      case ErrorCode::kNotEnoughReplicas:
      case ErrorCode::kRequestTimedOut: return ErrorCode::kCoordinatorNotAvailable;
      case ErrorCode::kNotLeaderOrFollower:
      case ErrorCode::kKafkaStorageError: return ErrorCode::kNotCoordinator;
      case ErrorCode::kMessageTooLarge:
      case ErrorCode::kRecordListTooLarge: return ErrorCode::kUnknownServerError;
      default: return code;
    }
  }

  CoordinatorRuntime& runtime_;
  int32_t partition_;
  std::optional<int64_t> armed_for_;
  Timers::Id timer_;
};

CoordinatorRuntime::CoordinatorRuntime(std::string topic, int32_t base_sequence, Replicas& replicas,
                                       Timers& timers, const storage::Clock& clock,
                                       const storage::Clock& shard_clock, ShardFactory factory)
    : topic_(std::move(topic)),
      base_sequence_(base_sequence),
      replicas_(replicas),
      timers_(timers),
      clock_(clock),
      shard_clock_(shard_clock),
      factory_(std::move(factory)) {}

CoordinatorRuntime::~CoordinatorRuntime() = default;

Result<CoordinatorShard*> CoordinatorRuntime::shard(int32_t partition) {
  if (hosted_.contains(partition) && !is_current(partition)) {
    unload(partition);
  }
  if (!hosted_.contains(partition)) {
    auto fresh = std::make_unique<Hosted>(*this, partition);
    fresh->shard = factory_(*fresh);
    TRY_VOID(load(*fresh, partition));
    const int32_t epoch = fresh->leader_epoch;
    hosted_[partition] = std::move(fresh);
    const auto led = replicas_.find(topic_, partition);
    (*led)->when_committed((*led)->log().end_offset(), [this, partition, epoch](ErrorCode code) {
      on_committed(partition, epoch, code);
    });
  }
  const auto found = hosted_.find(partition);
  if (found == hosted_.end() || !found->second->is_ready) {
    return fail(ErrorCode::kCoordinatorLoadInProgress, "what was loaded is not committed yet");
  }
  return found->second->shard.get();
}

void CoordinatorRuntime::on_committed(int32_t partition, int32_t leader_epoch, ErrorCode code) {
  const auto found = hosted_.find(partition);
  if (found == hosted_.end() || found->second->leader_epoch != leader_epoch) {
    return;
  }
  if (code != ErrorCode::kNone) {
    return unload(partition);
  }
  found->second->is_ready = true;
  found->second->shard->loaded(shard_clock_.wall_ms());
  rearm(partition);
}

// Others may have led, and written, between two epochs of this node.
bool CoordinatorRuntime::is_current(int32_t partition) {
  const auto led = replicas_.find(topic_, partition);
  return led && (*led)->leader_epoch() == hosted_.at(partition)->leader_epoch;
}

void CoordinatorRuntime::unload(int32_t partition) {
  const auto found = hosted_.find(partition);
  const auto hosted = std::move(found->second);
  hosted_.erase(found);
  hosted->stop();
  hosted->shard->unloaded();
}

void CoordinatorRuntime::drop_lost() {
  std::vector<int32_t> lost;
  for (const auto& [partition, hosted] : hosted_) {
    if (!is_current(partition)) {
      lost.push_back(partition);
    }
  }
  for (const int32_t partition : lost) {
    unload(partition);
  }
}

Result<> CoordinatorRuntime::load(Hosted& hosted, int32_t partition) {
  const auto found = replicas_.find(topic_, partition);
  if (!found) {
    const bool missing = found.error().code == ErrorCode::kUnknownTopicOrPartition;
    return fail(missing ? ErrorCode::kCoordinatorNotAvailable : ErrorCode::kNotCoordinator,
                found.error().why);
  }
  hosted.leader_epoch = (*found)->leader_epoch();
  storage::Log& log = (*found)->log();
  return log.visit(log.start_offset(), [&](const BatchView& batch) {
    replay(hosted, batch, partition);
    return true;
  });
}

void CoordinatorRuntime::replay(Hosted& hosted, const BatchView& batch, int32_t partition) {
  if (batch.is_control()) {
    if (const auto marker = storage::read_end_marker(batch)) {
      hosted.shard->end_transaction(batch.producer_id(), !marker->aborts);
    }
    return;
  }
  const auto plain = protocol::decompress(batch.compression(), batch.body(), INT32_MAX);
  if (!plain) {
    spdlog::error("{}-{}: the batch at {} cannot be read: {}", topic_, partition,
                  batch.base_offset(), plain.error().why);
    return;
  }
  const int64_t now = shard_clock_.wall_ms();
  const int64_t producer_id = batch.is_transactional() ? batch.producer_id() : -1;
  protocol::RecordIterator records(plain->span(), batch.count());
  for (auto record = records.next(); record && *record; record = records.next()) {
    if ((*record)->key) {
      hosted.shard->replay(
          {Bytes::copy_of(*(*record)->key),
           (*record)->value ? std::optional(Bytes::copy_of(*(*record)->value)) : std::nullopt},
          {batch.base_offset() + (*record)->offset_delta, producer_id}, now);
    }
  }
}

void CoordinatorRuntime::on_marker(int32_t partition, int64_t producer_id, bool commits) {
  if (const auto found = hosted_.find(partition); found != hosted_.end()) {
    found->second->shard->end_transaction(producer_id, commits);
    rearm(partition);
  }
}

void CoordinatorRuntime::rearm(int32_t partition) {
  if (const auto found = hosted_.find(partition);
      found != hosted_.end() && found->second->is_ready) {
    found->second->rearm();
  }
}

void CoordinatorRuntime::for_each(const std::function<void(CoordinatorShard&)>& visit) {
  const auto topic = replicas_.image()->topic(topic_);
  if (topic == nullptr) {
    return;
  }
  for (const auto& [partition, unused] : topic->partitions) {
    if (!replicas_.owns(topic->id, partition)) {
      continue;
    }
    if (const auto found = shard(partition)) {
      visit(**found);
    }
  }
}

std::vector<int32_t> CoordinatorRuntime::hosted_partitions() const {
  std::vector<int32_t> partitions;
  for (const auto& [partition, hosted] : hosted_) {
    partitions.push_back(partition);
  }
  return partitions;
}

int32_t coordinator_partition(const std::string& key, int32_t partitions) {
  uint32_t hash = 0;
  protocol::for_each_utf16_unit(key, [&](uint16_t unit) { hash = 31 * hash + unit; });
  const auto value = static_cast<int32_t>(hash);
  const int32_t positive = value == INT32_MIN ? 0 : std::abs(value);
  return positive % partitions;
}

}  // namespace klamm::broker
