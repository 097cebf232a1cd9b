// AlterReplicaLogDirs (key 34), v1-2: begins to move logs to other directories of this broker.
// Answers once the moves have begun; DescribeLogDirs tells how far they are.
#include "broker/ask_owners.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/alter_replica_log_dirs_request.h"
#include "protocol/generated/alter_replica_log_dirs_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Answer = AlterReplicaLogDirsResponse::AlterReplicaLogDirPartitionResult;

struct Question {
  std::string path;
  storage::TopicPartition id;
};

ErrorCode begin_move(Broker& broker, const Question& question) {
  storage::LogDir* const to = broker.node().dir_of(question.path);
  if (to == nullptr) {
    const auto& missing = broker.node().missing_dirs();
    return std::find(missing.begin(), missing.end(), question.path) == missing.end()
               ? ErrorCode::kLogDirNotFound
               : ErrorCode::kKafkaStorageError;
  }
  const auto begun = broker.mover().move(question.id, *to);
  if (begun) {
    return ErrorCode::kNone;
  }
  return begun.error().code == ErrorCode::kNotLeaderOrFollower ? ErrorCode::kReplicaNotAvailable
                                                               : begun.error().code;
}

}  // namespace

void handle(RequestContext& context, AlterReplicaLogDirsRequest&& request,
            Reply<AlterReplicaLogDirsResponse> reply) {
  AlterReplicaLogDirsResponse response;
  std::vector<Question> questions;
  for (const auto& dir : request.dirs) {
    for (const auto& topic : dir.topics) {
      response.results.push_back({.topic_name = topic.name});
      response.results.back().partitions.resize(topic.partitions.size());
      for (const int32_t partition : topic.partitions) {
        questions.push_back({dir.path, {topic.name, partition}});
      }
    }
  }
  ask_owners(
      context.broker, std::move(questions),
      [&broker = context.broker](const Question& question) {
        return broker.owner(question.id.topic, question.id.partition);
      },
      [](Broker& owner, const Question& question) {
        return Answer{.partition_index = question.id.partition,
                      .error_code = begin_move(owner, question)};
      },
      [response = std::move(response),
       reply = std::move(reply)](std::vector<Answer> answers) mutable {
        put_in_order(response.results, answers,
                     &AlterReplicaLogDirsResponse::AlterReplicaLogDirTopicResult::partitions);
        reply.send(response);
      });
}

}  // namespace klamm::broker
