// DeleteRecords (key 21), v0-2: moves the log's start up to an offset, -1 for the high watermark.
// Answers once every replica that is alive has done so, or REQUEST_TIMED_OUT.
#include "broker/ask_owners.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/delete_records_request.h"
#include "protocol/generated/delete_records_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

struct Question {
  std::string topic;
  DeleteRecordsRequest::DeleteRecordsPartition asked;
};
using Answer = DeleteRecordsResponse::DeleteRecordsPartitionResult;

// Moves the start of the leader's log. The offset that it begins at then.
Result<int64_t> remove(Broker& broker, replication::Partition& partition, int64_t asked) {
  storage::Log& log = partition.log();
  if (!log.config().cleanup_delete) {
    return fail(ErrorCode::kPolicyViolation, "records of a compacted topic cannot be deleted");
  }
  const int64_t offset = asked == -1 ? partition.high_watermark() : asked;
  if (offset < 0 || offset > partition.high_watermark()) {
    return fail(ErrorCode::kOffsetOutOfRange, "the offset is not in the log");
  }
  TRY_VOID(log.advance_start(offset, broker.clock().wall_ms()));
  return log.start_offset();
}

Result<replication::Partition*> find(Broker& broker, const Question& question) {
  if (is_internal(question.topic)) {
    return fail(ErrorCode::kInvalidTopicException, "internal topics keep their records");
  }
  return broker.replicas().find(question.topic, question.asked.partition_index);
}

void answer(Broker& broker, const Question& question, int32_t timeout_ms, AnswerSlot<Answer> slot) {
  const auto partition = find(broker, question);
  const auto low = partition ? remove(broker, **partition, question.asked.offset)
                             : Result<int64_t>(std::unexpected(partition.error()));
  const auto to_answer = [index = question.asked.partition_index,
                          start = low.value_or(-1)](ErrorCode code) {
    return Answer{.partition_index = index,
                  .low_watermark = code == ErrorCode::kNone ? start : -1,
                  .error_code = code};
  };
  if (!low) {
    return slot.put(to_answer(low.error().code));
  }
  const PatientAnswer<Answer> patient(broker, std::move(slot), to_answer);
  (*partition)->when_deleted(*low, patient);
  patient.expire_after(timeout_ms);
}

// The new starts must outlive a crash, or deleted records would be back.
void make_durable(Node& node, DeleteRecordsResponse response, Reply<DeleteRecordsResponse> reply) {
  node.write_checkpoints(
      [response = std::move(response), reply = std::move(reply)](const Result<>& written) mutable {
        if (!written) {
          for (auto& topic : response.topics) {
            for (auto& partition : topic.partitions) {
              partition.error_code = ErrorCode::kKafkaStorageError;
            }
          }
        }
        reply.send(response);
      });
}

}  // namespace

void handle(RequestContext& context, DeleteRecordsRequest&& request,
            Reply<DeleteRecordsResponse> reply) {
  DeleteRecordsResponse response;
  std::vector<Question> questions;
  for (const auto& topic : request.topics) {
    response.topics.push_back({.name = topic.name});
    response.topics.back().partitions.resize(topic.partitions.size());
    for (const auto& asked : topic.partitions) {
      questions.push_back({topic.name, asked});
    }
  }
  ask_owners_for<Answer>(
      context.broker, std::move(questions),
      [&broker = context.broker](const Question& question) {
        return broker.owner(question.topic, question.asked.partition_index);
      },
      [timeout_ms = request.timeout_ms](Broker& owner, const Question& question,
                                        AnswerSlot<Answer> slot) {
        answer(owner, question, timeout_ms, std::move(slot));
      },
      [&broker = context.broker, response = std::move(response),
       reply = std::move(reply)](std::vector<Answer> answers) mutable {
        put_in_order(response.topics, answers,
                     &DeleteRecordsResponse::DeleteRecordsTopicResult::partitions);
        broker.at_controller(
            [response = std::move(response), reply = std::move(reply)](Node& node) mutable {
              make_durable(node, std::move(response), std::move(reply));
            });
      });
}

}  // namespace klamm::broker
