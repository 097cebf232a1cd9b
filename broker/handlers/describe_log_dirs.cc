// DescribeLogDirs (key 35), v1-5: what lies in the directories of this broker.   v4: the space of
// their file systems.   v5: whether new logs are kept away, which they never are here.
#include <map>
#include <set>

#include "broker/ask_owners.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/describe_log_dirs_request.h"
#include "protocol/generated/describe_log_dirs_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using PartitionAnswer = DescribeLogDirsResponse::DescribeLogDirsPartition;
using DirAnswer = DescribeLogDirsResponse::DescribeLogDirsResult;
// By directory and topic.
using Contents =
    std::map<const storage::LogDir*, std::map<std::string, std::vector<PartitionAnswer>>>;
// Nothing: all partitions.
using Filter = std::optional<std::set<storage::TopicPartition>>;

Contents contents_of(Broker& broker, const Filter& wanted) {
  Contents contents;
  for (const auto& id : broker.replicas().known()) {
    if (wanted && !wanted->contains(id)) {
      continue;
    }
    contents[broker.replicas().home(id)][id.topic].push_back(
        {.partition_index = id.partition, .partition_size = broker.replicas().size_of(id)});
    if (const auto copy = broker.mover().copy_of(id)) {
      contents[copy->dir][id.topic].push_back({.partition_index = id.partition,
                                               .partition_size = copy->size,
                                               .offset_lag = copy->lag,
                                               .is_future_key = true});
    }
  }
  return contents;
}

DirAnswer describe(storage::LogDir& dir, std::vector<Contents>& of_shards) {
  DirAnswer answer;
  answer.log_dir = dir.path();
  if (dir.is_offline()) {
    answer.error_code = ErrorCode::kKafkaStorageError;
    return answer;
  }
  std::map<std::string, std::vector<PartitionAnswer>> topics;
  for (Contents& contents : of_shards) {
    for (auto& [topic, partitions] : contents[&dir]) {
      auto& all = topics[topic];
      all.insert(all.end(), partitions.begin(), partitions.end());
    }
  }
  for (auto& [topic, partitions] : topics) {
    answer.topics.push_back({.name = topic, .partitions = std::move(partitions)});
  }
  if (const auto space = dir.disk().space(dir.path())) {
    answer.total_bytes = space->total;
    answer.usable_bytes = space->usable;
  }
  return answer;
}

Filter filter_of(const DescribeLogDirsRequest& request) {
  if (!request.topics) {
    return std::nullopt;
  }
  std::set<storage::TopicPartition> wanted;
  for (const auto& topic : *request.topics) {
    for (const int32_t partition : topic.partitions) {
      wanted.insert({topic.topic, partition});
    }
  }
  return wanted;
}

}  // namespace

void handle(RequestContext& context, DescribeLogDirsRequest&& request,
            Reply<DescribeLogDirsResponse> reply) {
  ask_owners(
      context.broker, context.broker.all_shards(), [](size_t shard) { return shard; },
      [wanted = filter_of(request)](Broker& owner, size_t) { return contents_of(owner, wanted); },
      [&node = context.broker.node(),
       reply = std::move(reply)](std::vector<Contents> of_shards) mutable {
        DescribeLogDirsResponse response;
        for (const auto& dir : node.dirs()) {
          response.results.push_back(describe(*dir, of_shards));
        }
        for (const auto& path : node.missing_dirs()) {
          response.results.push_back(
              {.error_code = ErrorCode::kKafkaStorageError, .log_dir = path});
        }
        reply.send(response);
      });
}

}  // namespace klamm::broker
