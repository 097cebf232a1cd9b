// DeleteRecords (key 21), v0-2: moves the log's start up to an offset, -1 for the high watermark.
// Answers at once, for there is no other replica to wait for.
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

Result<int64_t> remove(Broker& broker, const Question& question) {
  if (is_internal(question.topic)) {
    return fail(ErrorCode::kInvalidTopicException, "internal topics keep their records");
  }
  TRY(replication::Partition* const partition,
      broker.replicas().find(question.topic, question.asked.partition_index));
  storage::Log& log = partition->log();
  if (!log.config().cleanup_delete) {
    return fail(ErrorCode::kPolicyViolation, "records of a compacted topic cannot be deleted");
  }
  const int64_t offset =
      question.asked.offset == -1 ? partition->high_watermark() : question.asked.offset;
  if (offset < 0 || offset > partition->high_watermark()) {
    return fail(ErrorCode::kOffsetOutOfRange, "the offset is not in the log");
  }
  TRY_VOID(log.advance_start(offset, broker.clock().wall_ms()));
  return log.start_offset();
}

Answer answer(Broker& broker, const Question& question) {
  const auto low = remove(broker, question);
  return {.partition_index = question.asked.partition_index,
          .low_watermark = low ? *low : -1,
          .error_code = low ? ErrorCode::kNone : low.error().code};
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
  ask_owners(
      context.broker, std::move(questions),
      [&broker = context.broker](const Question& question) {
        return broker.owner(question.topic, question.asked.partition_index);
      },
      answer,
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
