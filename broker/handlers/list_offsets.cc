// ListOffsets (key 2), v1-11.   v2: isolation.   v4: leader epochs.   v7: max timestamp (-3).   v8:
// earliest local (-4). v9: latest tiered (-5).   v10: timeout.   v11: earliest pending upload (-6).
// Nothing is tiered here: the earliest local offset is the log's start, the tiered ones do not
// exist. Never parked.
#include "broker/ask_owners.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/list_offsets_request.h"
#include "protocol/generated/list_offsets_response.h"

namespace klamm::broker {

using namespace protocol;
using replication::Partition;

namespace {

constexpr int64_t kLatest = -1;
constexpr int64_t kEarliest = -2;
constexpr int64_t kMaxTimestamp = -3;
constexpr int64_t kEarliestLocal = -4;
constexpr int64_t kLatestTiered = -5;
constexpr int64_t kEarliestPendingUpload = -6;
constexpr int8_t kReadCommitted = 1;
constexpr int32_t kConsumerReplicaId = -1;

Result<storage::TimestampOffset> find(Partition& partition, int64_t timestamp, int64_t bound) {
  storage::Log& log = partition.log();
  switch (timestamp) {
    case kLatest: return storage::TimestampOffset{-1, bound, partition.leader_epoch()};
    case kEarliest:
    case kEarliestLocal: {
      const int32_t epoch = log.epochs().epoch_at(log.start_offset());
      return storage::TimestampOffset{-1, log.start_offset(), epoch};
    }
    case kLatestTiered:
    case kEarliestPendingUpload: return storage::TimestampOffset{};
    case kMaxTimestamp: return log.find_max_timestamp();
    default:
      if (timestamp < 0) {
        return fail(ErrorCode::kUnsupportedVersion, "unknown special timestamp");
      }
      return log.find_timestamp(timestamp);
  }
}

struct Question {
  std::string topic;
  ListOffsetsRequest::ListOffsetsPartition asked;
  bool is_consumer;
  bool committed_only;
  bool with_epoch;
};
using Answer = ListOffsetsResponse::ListOffsetsPartitionResponse;

Answer answer(Broker& broker, const Question& question) {
  const auto& asked = question.asked;
  Answer out;
  out.partition_index = asked.partition_index;
  const auto found = broker.replicas().find(question.topic, asked.partition_index);
  if (!found) {
    out.error_code = found.error().code;
    return out;
  }
  Partition& partition = **found;
  out.error_code = partition.check_epoch(asked.current_leader_epoch);
  if (out.error_code != ErrorCode::kNone) {
    return out;
  }
  const int64_t bound = !question.is_consumer     ? partition.log().end_offset()
                        : question.committed_only ? partition.last_stable_offset()
                                                  : partition.high_watermark();
  const auto result = find(partition, asked.timestamp, bound);
  if (!result) {
    out.error_code = result.error().code;
    return out;
  }
  if (asked.timestamp >= 0 && result->offset >= bound) {
    return out;  // not committed yet
  }
  out.timestamp = result->timestamp;
  out.offset = result->offset;
  if (question.with_epoch) {
    out.leader_epoch = result->leader_epoch;
  }
  return out;
}

}  // namespace

void handle(RequestContext& context, ListOffsetsRequest&& request,
            Reply<ListOffsetsResponse> reply) {
  ListOffsetsResponse response;
  std::vector<Question> questions;
  for (const auto& topic : request.topics) {
    response.topics.push_back({.name = topic.name});
    response.topics.back().partitions.resize(topic.partitions.size());
    for (const auto& asked : topic.partitions) {
      questions.push_back({topic.name, asked, request.replica_id == kConsumerReplicaId,
                           request.isolation_level == kReadCommitted, context.version >= 4});
    }
  }
  ask_owners(
      context.broker, std::move(questions),
      [&broker = context.broker](const Question& question) {
        return broker.owner(question.topic, question.asked.partition_index);
      },
      answer,
      [response = std::move(response),
       reply = std::move(reply)](std::vector<Answer> answers) mutable {
        put_in_order(response.topics, answers,
                     &ListOffsetsResponse::ListOffsetsTopicResponse::partitions);
        reply.send(response);
      });
}

}  // namespace klamm::broker
