#include "broker/cluster/controller.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "protocol/generated/producer_ids_record.h"
#include "replication/controller/alter_partition.h"
#include "replication/controller/directories.h"

namespace klamm::broker {

using namespace protocol;
using replication::Bytes;

namespace {

constexpr int32_t kProducerIdBlock = 1000;

}  // namespace

void Controller::on_leadership() {
  if (quorum_.is_active() == was_active_) {
    return;
  }
  was_active_ = quorum_.is_active();
  if (was_active_) {
    brokers_.begin(*quorum_.working_image(), clock_.monotonic_ms());
    watch_sessions();
    balance_leaders();
    return;
  }
  for (auto* const timer : {&timer_, &balance_timer_}) {
    if (*timer) {
      timers_.cancel(*std::exchange(*timer, std::nullopt));
    }
  }
}

// First replicas that were away lead again (auto.leader.rebalance.enable).
void Controller::balance_leaders() {
  constexpr size_t kAtOnce = 1000;
  if (balance_every_ms_ <= 0) {
    return;
  }
  balance_timer_ = timers_.after(clock_, balance_every_ms_, [this] {
    balance_timer_.reset();
    if (const auto done =
            quorum_.append(replication::prefer_first_replicas(*quorum_.working_image(), kAtOnce));
        !done) {
      spdlog::error("cannot balance leaders: {}", done.error().why);
    }
    balance_leaders();
  });
}

// One fenced broker at a time: each changes the image that the next one is judged by.
void Controller::watch_sessions() {
  constexpr int64_t kLookEveryMs = 500;
  const int64_t now = clock_.monotonic_ms();
  while (const auto broker = brokers_.expired(*quorum_.working_image(), now)) {
    spdlog::info("Fencing broker {} because its session has timed out.", *broker);
    if (const auto done = quorum_.append(brokers_.fence(*quorum_.working_image(), *broker));
        !done) {
      spdlog::error("cannot fence broker {}: {}", *broker, done.error().why);
      break;
    }
  }
  const int64_t next =
      std::min(brokers_.next_expiry_ms(*quorum_.working_image()), now + kLookEveryMs);
  timer_ = timers_.at(std::max(next, now + 1), [this] {
    timer_.reset();
    if (quorum_.is_active()) {
      watch_sessions();
    }
  });
}

void Controller::on_gone(int32_t broker, int64_t epoch) {
  const auto& image = *quorum_.working_image();
  const auto known = image.brokers.find(broker);
  if (!quorum_.is_active() || known == image.brokers.end() || known->second.fenced ||
      known->second.epoch != epoch) {
    return;
  }
  spdlog::info("Fencing broker {} because its port refuses: its process is gone.", broker);
  if (const auto done = quorum_.append(brokers_.fence(image, broker)); !done) {
    spdlog::error("cannot fence broker {}: {}", broker, done.error().why);
  }
}

template <class Response>
void Controller::commit(const std::vector<Bytes>& records, Response response,
                        Answer<Response> answer) {
  if (const auto appended = quorum_.append(records); !appended) {
    response = {};
    response.error_code = appended.error().code;
    return answer(std::move(response));
  }
  quorum_.when_committed([response = std::move(response),
                          answer = std::move(answer)](const Result<>& committed) mutable {
    if (!committed) {
      response = {};
      response.error_code = committed.error().code;
    }
    answer(std::move(response));
  });
}

void Controller::handle(const BrokerRegistrationRequest& request, int16_t,
                        Answer<BrokerRegistrationResponse> answer) {
  BrokerRegistrationResponse response;
  if (!quorum_.is_active()) {
    response.error_code = ErrorCode::kNotController;
    return answer(std::move(response));
  }
  auto entered = brokers_.enter(*quorum_.working_image(), cluster_id_, request,
                                quorum_.end_offset(), clock_.monotonic_ms());
  if (!entered) {
    spdlog::info("refused the registration of broker {}: {}", request.broker_id,
                 entered.error().why);
    response.error_code = entered.error().code;
    return answer(std::move(response));
  }
  response.broker_epoch = entered->epoch;
  commit(entered->records, std::move(response), std::move(answer));
}

void Controller::handle(const BrokerHeartbeatRequest& request, int16_t,
                        Answer<BrokerHeartbeatResponse> answer) {
  if (!quorum_.is_active()) {
    BrokerHeartbeatResponse response;
    response.error_code = ErrorCode::kNotController;
    return answer(std::move(response));
  }
  auto beat = brokers_.heartbeat(*quorum_.working_image(), request, clock_.monotonic_ms());
  commit(beat.records, std::move(beat.response), std::move(answer));
}

void Controller::handle(const ControllerRegistrationRequest& request, int16_t,
                        Answer<ControllerRegistrationResponse> answer) {
  ControllerRegistrationResponse response;
  response.error_message.reset();
  if (!quorum_.is_active()) {
    response.error_code = ErrorCode::kNotController;
    return answer(std::move(response));
  }
  commit(replication::register_controller(*quorum_.working_image(), request), std::move(response),
         std::move(answer));
}

void Controller::handle(const AlterPartitionRequest& request, int16_t version,
                        Answer<AlterPartitionResponse> answer) {
  AlterPartitionResponse response;
  if (!quorum_.is_active()) {
    response.error_code = ErrorCode::kNotController;
    return answer(std::move(response));
  }
  auto altered = replication::alter_partitions(*quorum_.working_image(), request, version);
  commit(altered.records, std::move(altered.response), std::move(answer));
}

void Controller::handle(const AllocateProducerIdsRequest& request, int16_t,
                        Answer<AllocateProducerIdsResponse> answer) {
  AllocateProducerIdsResponse response;
  const auto& image = *quorum_.working_image();
  const auto broker = image.brokers.find(request.broker_id);
  if (!quorum_.is_active()) {
    response.error_code = ErrorCode::kNotController;
  } else if (broker == image.brokers.end()) {
    response.error_code = ErrorCode::kBrokerIdNotRegistered;
  } else if (broker->second.epoch != request.broker_epoch) {
    response.error_code = ErrorCode::kStaleBrokerEpoch;
  }
  if (response.error_code != ErrorCode::kNone) {
    return answer(std::move(response));
  }
  response.producer_id_start = image.next_producer_id;
  response.producer_id_len = kProducerIdBlock;
  ProducerIdsRecord record;
  record.broker_id = request.broker_id;
  record.broker_epoch = request.broker_epoch;
  record.next_producer_id = image.next_producer_id + kProducerIdBlock;
  commit({replication::to_record(record, 0)}, std::move(response), std::move(answer));
}

void Controller::handle(const AssignReplicasToDirsRequest& request, int16_t,
                        Answer<AssignReplicasToDirsResponse> answer) {
  AssignReplicasToDirsResponse response;
  if (!quorum_.is_active()) {
    response.error_code = ErrorCode::kNotController;
    return answer(std::move(response));
  }
  const auto& image = *quorum_.working_image();
  const auto broker = image.brokers.find(request.broker_id);
  if (broker == image.brokers.end() || broker->second.epoch != request.broker_epoch) {
    response.error_code = ErrorCode::kStaleBrokerEpoch;
    return answer(std::move(response));
  }
  std::vector<Bytes> records;
  for (const auto& directory : request.directories) {
    auto& out = response.directories.emplace_back();
    out.id = directory.id;
    for (const auto& topic : directory.topics) {
      auto& out_topic = out.topics.emplace_back();
      out_topic.topic_id = topic.topic_id;
      const auto known = image.topic(topic.topic_id);
      for (const auto& partition : topic.partitions) {
        auto& result = out_topic.partitions.emplace_back();
        result.partition_index = partition.partition_index;
        if (known == nullptr || !known->partitions.contains(partition.partition_index)) {
          result.error_code =
              known == nullptr ? ErrorCode::kUnknownTopicId : ErrorCode::kUnknownTopicOrPartition;
          continue;
        }
        auto assigned = replication::assign_directory(image, request.broker_id, *known,
                                                      partition.partition_index, directory.id);
        records.insert(records.end(), assigned.begin(), assigned.end());
      }
    }
  }
  commit(records, std::move(response), std::move(answer));
}

void Controller::handle(const UnregisterBrokerRequest& request, int16_t,
                        Answer<UnregisterBrokerResponse> answer) {
  UnregisterBrokerResponse response;
  response.error_message.reset();
  if (!quorum_.is_active()) {
    response.error_code = ErrorCode::kNotController;
    return answer(std::move(response));
  }
  auto records = brokers_.unregister(*quorum_.working_image(), request.broker_id);
  if (!records) {
    response.error_code = records.error().code;
    response.error_message = std::move(records.error().why);
    return answer(std::move(response));
  }
  commit(*records, std::move(response), std::move(answer));
}

}  // namespace klamm::broker
