// DeleteRecords (key 21), v0-2: moves the log's start up to an offset, -1 for the high watermark.
// Answers at once, for there is no other replica to wait for.
#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/delete_records_request.h"
#include "protocol/generated/delete_records_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

Result<int64_t> remove(RequestContext& context, const std::string& topic,
                       const DeleteRecordsRequest::DeleteRecordsPartition& asked) {
  if (is_internal(topic)) {
    return fail(ErrorCode::kInvalidTopicException, "internal topics keep their records");
  }
  TRY(replication::Partition* const partition,
      context.broker.replicas().find(topic, asked.partition_index));
  storage::Log& log = partition->log();
  if (!log.config().cleanup_delete) {
    return fail(ErrorCode::kPolicyViolation, "records of a compacted topic cannot be deleted");
  }
  const int64_t offset = asked.offset == -1 ? partition->high_watermark() : asked.offset;
  if (offset < 0 || offset > partition->high_watermark()) {
    return fail(ErrorCode::kOffsetOutOfRange, "the offset is not in the log");
  }
  TRY_VOID(log.advance_start(offset, context.broker.clock().wall_ms()));
  return log.start_offset();
}

}  // namespace

void handle(RequestContext& context, const DeleteRecordsRequest& request,
            Reply<DeleteRecordsResponse> reply) {
  DeleteRecordsResponse response;
  for (const auto& topic : request.topics) {
    auto& out = response.topics.emplace_back();
    out.name = topic.name;
    for (const auto& asked : topic.partitions) {
      const auto low = remove(context, topic.name, asked);
      out.partitions.push_back({.partition_index = asked.partition_index,
                                .low_watermark = low ? *low : -1,
                                .error_code = low ? ErrorCode::kNone : low.error().code});
    }
  }
  // The new starts must outlive a crash, or deleted records would be back.
  if (const auto written = context.broker.replicas().write_checkpoints(); !written) {
    for (auto& topic : response.topics) {
      for (auto& partition : topic.partitions) {
        partition.error_code = ErrorCode::kKafkaStorageError;
      }
    }
  }
  reply.send(response);
}

}  // namespace klamm::broker
