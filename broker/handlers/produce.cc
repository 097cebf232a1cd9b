// Produce (key 0), v3-13.   v7: zstd.   v8: errors by record.   v9: flexible.   v10: current
// leader.   v13: topic ids. Each partition's batch is checked down to its records, given its
// offsets and written. acks=all is answered once the records are committed, acks=1 once they are
// written here (after the flush that the topic asks for); acks=0 is not answered.
// Transactional batches are refused: no transaction coordinator has let them in.

#include "broker/ask_owners.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/produce_request.h"
#include "protocol/generated/produce_response.h"
#include "protocol/records/validate.h"

namespace klamm::broker {

using namespace protocol;
using replication::Partition;
using storage::AppendOrigin;

namespace {

using PartitionResult = ProduceResponse::PartitionProduceResponse;
using Slot = AnswerSlot<PartitionResult>;

constexpr int16_t kVersionWithZstd = 7;
constexpr int16_t kVersionWithAbortable = 11;
constexpr int16_t kVersionThatAdds = 12;
constexpr int16_t kVersionWithTopicIds = 13;
constexpr const char* kAdminClientId = "__admin_client";

PartitionResult failed(int32_t index, ErrorCode code, std::string why) {
  PartitionResult result;
  result.index = index;
  result.error_code = code;
  result.base_offset = -1;
  result.error_message = std::move(why);
  return result;
}

PartitionResult refused(int32_t index, Refusal refusal) {
  PartitionResult result = failed(index, refusal.code, std::move(refusal.why));
  for (auto& [record, why] : refusal.records) {
    result.record_errors.push_back(
        {.batch_index = record, .batch_index_error_message = std::move(why)});
  }
  return result;
}

// Most refusals tell where the log begins, as Kafka's do.
PartitionResult with_start(PartitionResult result, const Partition& partition) {
  switch (result.error_code) {
    case ErrorCode::kNotLeaderOrFollower:
    case ErrorCode::kMessageTooLarge:
    case ErrorCode::kRecordListTooLarge:
    case ErrorCode::kCorruptMessage:
    case ErrorCode::kKafkaStorageError: break;
    default: result.log_start_offset = partition.log().start_offset();
  }
  return result;
}

ValidationRules rules_for(const storage::LogConfig& config, int64_t now_ms) {
  return {.now_ms = now_ms,
          .timestamp_type = config.timestamp_type,
          .timestamp_before_max_ms = config.timestamp_before_max_ms,
          .timestamp_after_max_ms = config.timestamp_after_max_ms,
          .key_required = config.cleanup_compact,
          .decompressed_max = static_cast<uint64_t>(config.max_decompressed_message_bytes),
          .compression = config.compression,
          .compression_level = config.compression_level};
}

// A batch on its way to its partition.
struct Question {
  std::string topic;
  Uuid topic_id;
  int32_t partition;
  Bytes records;
};

// Appends the batches of one request, on the shards of their partitions.
class Producing {
 public:
  Producing(RequestContext& context, const ProduceRequest& request)
      : version_(context.version),
        acks_(request.acks),
        timeout_ms_(request.timeout_ms),
        is_admin_(context.client_id == kAdminClientId),
        transactional_id_(request.transactional_id) {}

  void operator()(Broker& broker, Question& question, Slot slot) const {
    if (question.records.empty()) {
      return slot.put(failed(question.partition, ErrorCode::kInvalidRecord,
                             "Produce requests must have exactly one record batch per partition"));
    }
    const auto partition = find(broker, question);
    if (!partition) {
      return slot.put(failed(question.partition, partition.error().code, partition.error().why));
    }
    const auto batch = BatchView::parse(question.records.span());
    if (batch && batch->is_transactional() && batch->has_producer_id()) {
      return write_in_transaction(broker, **partition, *batch, question, std::move(slot));
    }
    write(broker, **partition, question, {}, std::move(slot));
  }

 private:
  Result<Partition*> find(Broker& broker, const Question& question) const {
    return version_ >= kVersionWithTopicIds
               ? broker.replicas().find(question.topic_id, question.partition)
               : broker.replicas().find(question.topic, question.partition);
  }
  void write(Broker& broker, Partition& partition, const Question& question,
             const AppendOrigin& origin, Slot slot) const {
    int64_t end = 0;
    PartitionResult result = append(broker, partition, question, origin, end);
    if (result.error_code != ErrorCode::kNone || acks_ == 0) {
      return slot.put(std::move(result));
    }
    wait(broker, partition, end, std::move(result), std::move(slot));
  }
  // Asks the transaction's coordinator first, unless it has let the producer in already.
  void write_in_transaction(Broker& broker, Partition& partition, const BatchView& batch,
                            Question& question, Slot slot) const {
    const bool adds = version_ >= kVersionThatAdds;
    AppendOrigin origin{.transaction_version = static_cast<int16_t>(adds ? 2 : 0)};
    if (!transactional_id_ ||
        (!adds && !broker.config().flag("transaction.partition.verification.enable"))) {
      origin.verification = transactional_id_ ? std::nullopt : std::optional<uint64_t>(0);
      return write(broker, partition, question, origin, std::move(slot));
    }
    const TransactionToVerify transaction{
        *transactional_id_, {batch.producer_id(), batch.producer_epoch()}, adds};
    const TransactionPlace place{partition.id().topic, partition.id().partition};
    origin.verification =
        partition.log().begin_verification(batch.producer_id(), batch.producer_epoch(),
                                           batch.base_sequence(), broker.clock().wall_ms());
    if (origin.verification == 0 && !broker.verifier().is_waiting(transaction, place)) {
      return write(broker, partition, question, origin, std::move(slot));
    }
    broker.verifier().ask(transaction, place,
                          [self = *this, &broker, origin, question = std::move(question),
                           slot = std::move(slot)](ErrorCode code) mutable {
                            self.write_verified(broker, code, question, origin, std::move(slot));
                          });
  }
  void write_verified(Broker& broker, ErrorCode verdict, const Question& question,
                      const AppendOrigin& origin, Slot slot) const {
    if (verdict != ErrorCode::kNone) {
      return slot.put(
          failed(question.partition,
                 told_to_producer(verdict, version_ >= kVersionWithAbortable,
                                  version_ >= kVersionThatAdds, ErrorCode::kNotEnoughReplicas),
                 "The partition is not in the transaction: " + std::string(name_of(verdict))));
    }
    const auto partition = find(broker, question);
    partition ? write(broker, **partition, question, origin, std::move(slot))
              : slot.put(failed(question.partition, partition.error().code, partition.error().why));
  }
  // Answers once the records are as safe as the producer wants them, or its patience is over.
  void wait(Broker& broker, Partition& partition, int64_t end, PartitionResult result,
            Slot slot) const {
    const PatientAnswer<PartitionResult> answer(
        broker, std::move(slot), [result = std::move(result)](ErrorCode code) mutable {
          return code == ErrorCode::kNone ? std::move(result)
                                          : failed(result.index, code, std::string(name_of(code)));
        });
    acks_ == -1 ? partition.when_committed(end, answer) : partition.when_written(end, answer);
    answer.expire_after(timeout_ms_);
  }
  // `end`: what must be committed before the answer may leave.
  PartitionResult append(Broker& broker, Partition& partition, const Question& question,
                         const AppendOrigin& origin, int64_t& end) const {
    const int64_t now = broker.clock().wall_ms();
    const int32_t index = question.partition;
    const Bytes& records = question.records;
    const storage::LogConfig& config = partition.log().config();
    if (is_internal(partition.id().topic) && !is_admin_) {
      return failed(index, ErrorCode::kInvalidTopicException,
                    "Cannot append to internal topic " + partition.id().topic);
    }
    if (static_cast<int64_t>(records.size()) > config.max_message_bytes) {
      return failed(index, ErrorCode::kMessageTooLarge,
                    "The record batch size in the append to " + partition.id().directory() +
                        " is " + std::to_string(records.size()) +
                        " bytes which exceeds the maximum configured value of " +
                        std::to_string(config.max_message_bytes) + ".");
    }
    if (const auto view = BatchView::parse(records.span())) {
      if (view->compression() == Compression::kZstd && version_ < kVersionWithZstd) {
        return failed(index, ErrorCode::kUnsupportedCompressionType,
                      "Produce requests before version 7 cannot use zstd compression");
      }
    }
    auto batch = validate_produced(records, rules_for(config, now));
    if (!batch) {
      return with_start(refused(index, std::move(batch.error())), partition);
    }
    const auto info = partition.append(std::move(*batch), acks_, now, origin);
    if (!info) {
      if (info.error().code == ErrorCode::kKafkaStorageError) {
        broker.warn_of_storage(info.error());
      }
      return with_start(failed(index, info.error().code, info.error().why), partition);
    }
    end = info->last_offset + 1;
    PartitionResult result;
    result.index = index;
    result.base_offset = info->base_offset;
    result.log_append_time_ms = info->log_append_time_ms;
    result.log_start_offset = partition.log().start_offset();
    return result;
  }

  int16_t version_;
  int16_t acks_;
  int32_t timeout_ms_;
  bool is_admin_;
  std::optional<std::string> transactional_id_;
};

ProduceResponse refuse_all(const ProduceRequest& request, ErrorCode code) {
  ProduceResponse response;
  for (const auto& topic : request.topic_data) {
    auto& out = response.responses.emplace_back();
    out.name = topic.name;
    out.topic_id = topic.topic_id;
    for (const auto& data : topic.partition_data) {
      out.partition_responses.push_back(failed(data.index, code, std::string(name_of(code))));
    }
  }
  return response;
}

void answer(int16_t acks, ProduceResponse response, std::vector<PartitionResult> results,
            Reply<ProduceResponse> reply) {
  const bool failed_once = std::any_of(results.begin(), results.end(), [](const auto& result) {
    return result.error_code != ErrorCode::kNone;
  });
  put_in_order(response.responses, results,
               &ProduceResponse::TopicProduceResponse::partition_responses);
  if (acks != 0) {
    return reply.send(response);
  }
  // A producer that wants no answer learns of an error by its connection being closed.
  failed_once ? reply.abandon() : reply.send_nothing();
}

// Of whose transactions the batches are part.
std::set<int64_t> transactional_producers(const ProduceRequest& request) {
  std::set<int64_t> producers;
  for (const auto& topic : request.topic_data) {
    for (const auto& data : topic.partition_data) {
      const Bytes records = data.records ? data.records->bytes() : Bytes();
      const auto batch = BatchView::parse(records.span());
      if (batch && batch->is_transactional() && batch->has_producer_id()) {
        producers.insert(batch->producer_id());
      }
    }
  }
  return producers;
}

}  // namespace

void handle(RequestContext& context, ProduceRequest&& request, Reply<ProduceResponse> reply) {
  if (request.acks < -1 || request.acks > 1) {
    return reply.send(refuse_all(request, ErrorCode::kInvalidRequiredAcks));
  }
  if (request.transactional_id && transactional_producers(request).size() > 1) {
    return reply.send(refuse_all(request, ErrorCode::kInvalidProducerIdMapping));
  }
  ProduceResponse response;
  std::vector<Question> questions;
  for (auto& topic : request.topic_data) {
    auto& out = response.responses.emplace_back();
    out.name = topic.name;
    out.topic_id = topic.topic_id;
    out.partition_responses.resize(topic.partition_data.size());
    for (auto& data : topic.partition_data) {
      questions.push_back({topic.name, topic.topic_id, data.index,
                           data.records ? std::exchange(data.records, {})->bytes() : Bytes()});
    }
  }
  ask_owners_for<PartitionResult>(
      context.broker, std::move(questions),
      [&broker = context.broker, version = context.version](const Question& question) {
        return version >= kVersionWithTopicIds ? broker.owner(question.topic_id, question.partition)
                                               : broker.owner(question.topic, question.partition);
      },
      Producing(context, request),
      [acks = request.acks, response = std::move(response),
       reply = std::move(reply)](std::vector<PartitionResult> results) mutable {
        answer(acks, std::move(response), std::move(results), std::move(reply));
      });
}

}  // namespace klamm::broker
