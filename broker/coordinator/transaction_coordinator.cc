#include "broker/coordinator/transaction_coordinator.h"

namespace klamm::broker {
namespace {

TransactionConfig read_config(const BrokerConfig& config) {
  TransactionConfig shard;
  shard.timeout_max_ms = static_cast<int32_t>(config.number("transaction.max.timeout.ms"));
  shard.two_phase_commit = config.flag("transaction.two.phase.commit.enable");
  shard.id_expiration_ms = config.number("transactional.id.expiration.ms");
  shard.abort_check_ms =
      config.number("transaction.abort.timed.out.transaction.cleanup.interval.ms");
  shard.expiry_check_ms =
      config.number("transaction.remove.expired.transaction.cleanup.interval.ms");
  return shard;
}

}  // namespace

TransactionCoordinator::TransactionCoordinator(const BrokerConfig& config, Replicas& replicas,
                                               Timers& timers, const storage::Clock& clock,
                                               TransactionOutput& output)
    : config_(read_config(config)),
      runtime_(kTransactionsTopic, -1, replicas, timers, clock, clock,
               [this, &output](RecordSink& sink) {
                 return std::make_unique<TransactionShard>(sink, config_, output);
               }) {}

Result<int32_t> TransactionCoordinator::partition_of(const std::string& transactional_id,
                                                     const replication::TopicImage* topic) {
  if (topic == nullptr) {
    return fail(ErrorCode::kCoordinatorNotAvailable, "__transaction_state does not exist yet");
  }
  return coordinator_partition(transactional_id, static_cast<int32_t>(topic->partitions.size()));
}

void TransactionCoordinator::with(int32_t partition,
                                  const std::function<void(Result<TransactionShard*>)>& use) {
  const auto shard = runtime_.shard(partition);
  if (!shard) {
    return use(std::unexpected(shard.error()));
  }
  use(static_cast<TransactionShard*>(*shard));
  runtime_.rearm(partition);
}

void TransactionCoordinator::start() {
  started_ = true;
  follow_leaders();
}

void TransactionCoordinator::follow_leaders() {
  runtime_.drop_lost();
  if (started_) {
    runtime_.for_each([](CoordinatorShard&) {});
  }
}

void TransactionCoordinator::for_each(const std::function<void(TransactionShard&)>& visit) {
  runtime_.for_each([&](CoordinatorShard& shard) { visit(static_cast<TransactionShard&>(shard)); });
}

}  // namespace klamm::broker
