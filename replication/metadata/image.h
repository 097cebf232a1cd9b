#pragma once
// The cluster's metadata as an immutable image. Readers hold a pointer to an image and never a
// lock; a change makes a new image that shares what did not change.
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/uuid.h"

namespace klamm::replication {

using protocol::Uuid;

// An id that names a directory; the reserved ones say unassigned, lost or migrating (KIP-858).
inline bool is_directory(const Uuid& id) {
  constexpr uint64_t kReservedMax = 100;
  return id.high != 0 || id.low >= kReservedMax;
}

inline constexpr int32_t kNoLeader = -1;

struct PartitionImage {
  std::vector<int32_t> replicas;
  std::vector<int32_t> isr;
  std::vector<int32_t> elr;
  std::vector<int32_t> last_known_elr;
  std::vector<Uuid> directories;
  std::vector<int32_t> adding;    // by a reassignment under way
  std::vector<int32_t> removing;  // by it
  int32_t leader = kNoLeader;
  int8_t recovery_state = 0;  // 1: an unclean leader has not recovered yet
  int32_t leader_epoch = 0;
  int32_t partition_epoch = 0;
};

struct TopicImage {
  std::string name;
  Uuid id;
  std::map<int32_t, PartitionImage> partitions;
};
using TopicPtr = std::shared_ptr<const TopicImage>;

struct TopicsImage {
  std::map<std::string, TopicPtr> by_name;
  std::unordered_map<Uuid, TopicPtr> by_id;
};

// Where a node is reached, by listener.
struct BrokerEndpoint {
  std::string name;
  std::string host;
  uint16_t port = 0;
};

struct BrokerImage {
  int32_t id = -1;
  int64_t epoch = -1;
  Uuid incarnation;
  std::vector<BrokerEndpoint> endpoints;
  std::optional<std::string> rack;
  bool fenced = true;
  bool in_controlled_shutdown = false;
  std::vector<Uuid> directories;  // that are online
  protocol::Bytes registration;   // the record as it stands in the log
};

// May be in sync and lead.
inline bool is_active(const BrokerImage& broker) {
  return !broker.fenced && !broker.in_controlled_shutdown;
}

struct ControllerImage {
  int32_t id = -1;
  Uuid incarnation;
  std::vector<BrokerEndpoint> endpoints;
  protocol::Bytes registration;
};

// Resource types of ConfigRecord and DescribeConfigs.
enum class ConfigResource : int8_t {
  kUnknown = 0,
  kTopic = 2,
  kBroker = 4,
  kBrokerLogger = 8,
  kClientMetrics = 16,
  kGroup = 32
};
using ConfigEntries = std::map<std::string, std::string>;
using ConfigsImage = std::map<std::pair<ConfigResource, std::string>, ConfigEntries>;

struct MetadataImage {
  int64_t offset = -1;  // of the last record in it
  int32_t epoch = 0;
  std::shared_ptr<const TopicsImage> topics = std::make_shared<TopicsImage>();
  std::shared_ptr<const ConfigsImage> configs = std::make_shared<ConfigsImage>();
  std::map<int32_t, BrokerImage> brokers;
  std::map<std::string, int16_t> features;
  int64_t next_producer_id = 0;
  std::map<int32_t, ControllerImage> controllers;
  // Records that mean nothing to this node yet, in their order: a snapshot must not lose them.
  std::shared_ptr<const std::vector<protocol::Bytes>> others =
      std::make_shared<std::vector<protocol::Bytes>>();

  TopicPtr topic(const std::string& name) const;
  TopicPtr topic(const Uuid& id) const;
  const PartitionImage* partition(const std::string& topic, int32_t partition) const;
  // The overrides of one resource; empty when it has none.
  const ConfigEntries& config(ConfigResource type, const std::string& name) const;
};
using ImagePtr = std::shared_ptr<const MetadataImage>;

}  // namespace klamm::replication
