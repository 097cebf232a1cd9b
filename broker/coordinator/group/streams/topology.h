#pragma once
// What a topology needs of the cluster (KIP-1071): how many tasks each subtopology has, how many
// partitions each internal topic, and which of these topics have to be made.
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/coordinator/group/streams/streams_state.h"
#include "protocol/base/result.h"
#include "protocol/generated/streams_group_heartbeat_request.h"
#include "replication/metadata/image.h"

namespace klamm::broker {

enum class StreamsStatus : int8_t {
  kStaleTopology = 0,
  kMissingSourceTopics = 1,
  kIncorrectlyPartitionedTopics = 2,
  kMissingInternalTopics = 3,
  kShutdownApplication = 4,
  kAssignmentDelayed = 5,
  kMissingClientTags = 6
};

struct InternalTopic {
  std::string name;
  int32_t partitions = 0;
  int16_t replication_factor = 0;  // 0: the cluster's default
  std::map<std::string, std::string> configs;
};

struct ConfiguredSubtopology {
  int32_t tasks = 0;
  std::set<std::string> sources;  // repartition topics too
  bool is_stateful = false;
};

struct ConfiguredTopology {
  struct Problem {
    StreamsStatus status;
    std::string detail;
  };
  std::map<std::string, ConfiguredSubtopology> subtopologies;  // empty when it cannot be told
  std::map<std::string, int32_t> internal_partitions;          // of the internal topics, by name
  std::vector<InternalTopic> missing;
  std::optional<Problem> problem;

  bool is_ready() const { return !problem; }
};

// The topology of a request as its record has it.
Topology topology_of(const protocol::StreamsGroupHeartbeatRequest::Topology& from);
// Whether both have the same epoch and subtopologies, in whatever order.
bool is_same(const Topology& a, const Topology& b);
// Every topic that is read, or keeps state.
std::set<std::string> required_topics(const Topology& topology);
// The subtopology that reads the topic; null when none does.
const Topology::Subtopology* reader_of(const Topology& topology, const std::string& topic);

// STREAMS_INVALID_TOPOLOGY for one that no topics could serve.
Result<ConfiguredTopology> configure(const Topology& topology,
                                     const replication::MetadataImage& image);

}  // namespace klamm::broker
