// StreamsGroupHeartbeat (key 88), v0-v1 (KIP-1071).   Answered when what it changed is committed;
// internal topics that are missing are made meanwhile.
#include <set>
#include <string>
#include <vector>

#include "broker/handlers/groups/group_protocols.h"
#include "broker/handlers/groups/heartbeating.h"
#include "protocol/generated/streams_group_heartbeat_request.h"
#include "protocol/generated/streams_group_heartbeat_response.h"
#include "replication/controller/topics.h"

namespace klamm::broker {

using namespace protocol;

namespace {

std::set<std::string> topics_of(const Topology& topology) {
  std::set<std::string> topics = required_topics(topology);
  for (const auto& subtopology : topology.subtopologies) {
    topics.insert(subtopology.repartition_sink_topics.begin(),
                  subtopology.repartition_sink_topics.end());
  }
  return topics;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) {
    text += (&name == &names.front() ? "" : ",") + name;
  }
  return text;
}

// STREAMS_INVALID_TOPOLOGY for topics that nobody may read or make.
Result<> check_names(const Topology& topology) {
  std::vector<std::string> internal;
  std::vector<std::string> invalid;
  for (const auto& name : topics_of(topology)) {
    if (is_internal(name)) {
      internal.push_back(name);
    }
    if (!replication::check_topic_name(name)) {
      invalid.push_back(name);
    }
  }
  if (!internal.empty()) {
    return fail(ErrorCode::kStreamsInvalidTopology,
                "Use of Kafka internal topics " + joined(internal) +
                    " in a Kafka Streams topology is prohibited.");
  }
  if (!invalid.empty()) {
    return fail(ErrorCode::kStreamsInvalidTopology,
                "Topic names " + joined(invalid) + " are not valid topic names.");
  }
  return {};
}

}  // namespace

void handle(RequestContext& context, StreamsGroupHeartbeatRequest&& request,
            Reply<StreamsGroupHeartbeatResponse> reply) {
  const bool is_served = serves_streams_groups(context.broker);
  if (is_served && request.topology) {
    if (const auto named = check_names(topology_of(*request.topology)); !named) {
      return reply.send({.error_code = named.error().code, .error_message = named.error().why});
    }
  }
  heartbeat(context, std::move(request), is_served, &GroupShard::streams_heartbeat,
            std::move(reply));
}

}  // namespace klamm::broker
