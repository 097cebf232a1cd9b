// CreatePartitions (key 37), v0-3. Each topic succeeds or fails by itself. Answered when the
// records are committed.
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/create_partitions_request.h"
#include "protocol/generated/create_partitions_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

Result<> grow(Node& node, const CreatePartitionsRequest::CreatePartitionsTopic& asked,
              bool validate_only) {
  const auto topic = node.working_image()->topic(asked.name);
  if (topic == nullptr) {
    return fail(ErrorCode::kUnknownTopicOrPartition,
                "This server does not host this topic-partition.");
  }
  std::optional<std::vector<std::vector<int32_t>>> assignments;
  if (asked.assignments) {
    assignments.emplace();
    for (const auto& assignment : *asked.assignments) {
      assignments->push_back(assignment.broker_ids);
    }
  }
  TRY(const auto records,
      replication::grow_topic(*node.working_image(), *topic, asked.count, assignments,
                              node.topic_defaults(), node.environment().random));
  return validate_only ? Result<>() : node.append(records);
}

}  // namespace

void handle(RequestContext& context, CreatePartitionsRequest&& request,
            Reply<CreatePartitionsResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        CreatePartitionsResponse response;
        for (const auto& topic : request.topics) {
          auto& out = response.results.emplace_back();
          out.name = topic.name;
          if (const auto grown = grow(node, topic, request.validate_only); !grown) {
            out.error_code = grown.error().code;
            out.error_message = grown.error().why;
          }
        }
        node.when_committed([response = std::move(response),
                             reply = std::move(reply)](const Result<>& committed) mutable {
          for (auto& topic : response.results) {
            if (!committed && topic.error_code == ErrorCode::kNone) {
              topic.error_code = committed.error().code;
              topic.error_message = committed.error().why;
            }
          }
          reply.send(response);
        });
      });
}

}  // namespace klamm::broker
