#include "replication/controller/topics.h"

#include <algorithm>
#include <set>

#include "protocol/generated/partition_record.h"
#include "protocol/generated/remove_topic_record.h"
#include "protocol/generated/topic_record.h"
#include "replication/controller/configs.h"
#include "replication/controller/placement.h"
#include "storage/log_dir.h"

namespace klamm::replication {
namespace {

constexpr size_t kNameMax = 249;
constexpr int32_t kPartitionsPerRequestMax = 10'000;

std::string with_underscores(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

// In sync from the start is who is alive. INVALID_REPLICA_ASSIGNMENT when nobody is.
Result<Bytes> partition_record(const MetadataImage& image, const Uuid& topic, int32_t index,
                               const std::vector<int32_t>& replicas,
                               const TopicDefaults& defaults) {
  protocol::PartitionRecord record;
  record.partition_id = index;
  record.topic_id = topic;
  record.replicas = replicas;
  std::copy_if(replicas.begin(), replicas.end(), std::back_inserter(record.isr),
               [&image](int32_t id) { return is_active(image.brokers.at(id)); });
  if (record.isr.empty()) {
    return fail(ErrorCode::kInvalidReplicaAssignment,
                "All brokers specified in the manual partition assignment for partition " +
                    std::to_string(index) + " are fenced or in controlled shutdown.");
  }
  record.leader = record.isr.front();
  record.leader_epoch = 0;
  record.partition_epoch = 0;
  for (const int32_t broker : replicas) {
    record.directories.push_back(defaults.directory(broker));
  }
  return to_record(record, 2);
}

Result<std::vector<std::vector<int32_t>>> assign(const MetadataImage& image, const NewTopic& topic,
                                                 const TopicDefaults& defaults,
                                                 storage::Random& random) {
  std::vector<std::vector<int32_t>> replicas;
  if (!topic.assignments.empty()) {
    if (topic.replication_factor != -1 || topic.partitions != -1) {
      return fail(ErrorCode::kInvalidRequest,
                  "A manual partition assignment was specified, but partitions or replication "
                  "factor were not set to -1.");
    }
    for (const auto& [index, brokers] : topic.assignments) {
      if (index != static_cast<int32_t>(replicas.size())) {
        return fail(ErrorCode::kInvalidReplicaAssignment,
                    "partitions should be a consecutive 0-based integer sequence");
      }
      TRY_VOID(check_replicas(image, brokers));
      replicas.push_back(brokers);
    }
    return replicas;
  }
  if (topic.replication_factor < -1 || topic.replication_factor == 0) {
    return fail(ErrorCode::kInvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.");
  }
  if (topic.partitions < -1 || topic.partitions == 0) {
    return fail(ErrorCode::kInvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.");
  }
  const int32_t partitions = topic.partitions == -1 ? defaults.partitions : topic.partitions;
  const auto factor = static_cast<size_t>(
      topic.replication_factor == -1 ? defaults.replication_factor : topic.replication_factor);
  if (partitions > kPartitionsPerRequestMax) {
    return fail(ErrorCode::kPolicyViolation, "Excessively large number of partitions per request.");
  }
  return place_replicas(image, partitions, factor, random);
}

}  // namespace

Result<> check_replicas(const MetadataImage& image, const std::vector<int32_t>& replicas) {
  if (replicas.empty()) {
    return fail(ErrorCode::kInvalidReplicaAssignment,
                "The manual partition assignment includes an empty replica list.");
  }
  if (std::set<int32_t>(replicas.begin(), replicas.end()).size() != replicas.size()) {
    return fail(ErrorCode::kInvalidReplicaAssignment,
                "The manual partition assignment includes a broker more than once.");
  }
  for (const int32_t id : replicas) {
    if (!image.brokers.contains(id)) {
      return fail(ErrorCode::kInvalidReplicaAssignment,
                  "The manual partition assignment includes broker " + std::to_string(id) +
                      ", but no such broker is registered.");
    }
  }
  return {};
}

Result<> check_topic_name(const std::string& name) {
  const auto invalid = [](const std::string& why) {
    return fail(ErrorCode::kInvalidTopicException, "Topic name is invalid: " + why);
  };
  if (name.empty()) {
    return invalid("the empty string is not allowed");
  }
  if (name == "." || name == "..") {
    return invalid("'" + name + "' is not allowed");
  }
  if (name.size() > kNameMax) {
    return invalid("the length of '" + name + "' is longer than the max allowed length " +
                   std::to_string(kNameMax));
  }
  const bool legal = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  if (!legal) {
    return invalid(
        "'" + name +
        "' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'");
  }
  return {};
}

Result<TopicChange> create_topic(const MetadataImage& image, const NewTopic& topic,
                                 const TopicDefaults& defaults, storage::Random& random) {
  TRY_VOID(check_topic_name(topic.name));
  if (image.topic(topic.name) != nullptr) {
    return fail(ErrorCode::kTopicAlreadyExists, "Topic '" + topic.name + "' already exists.");
  }
  if (topic.name.find_first_of("._") != std::string::npos) {
    const std::string mine = with_underscores(topic.name);
    for (const auto& [other, unused] : image.topics->by_name) {
      if (with_underscores(other) == mine) {
        return fail(ErrorCode::kInvalidTopicException,
                    "Topic '" + topic.name + "' collides with existing topic: " + other);
      }
    }
  }
  TRY(const auto replicas, assign(image, topic, defaults, random));
  TopicChange change;
  change.id = storage::new_uuid(random);
  change.partitions = static_cast<int32_t>(replicas.size());
  change.replication_factor = static_cast<int16_t>(replicas.front().size());
  protocol::TopicRecord record;
  record.name = topic.name;
  record.topic_id = change.id;
  change.records.push_back(to_record(record, 0));
  for (const auto& [name, value] : topic.configs) {
    change.records.push_back(config_record(ConfigResource::kTopic, topic.name, name, value));
  }
  for (int32_t i = 0; i < change.partitions; ++i) {
    TRY(auto record,
        partition_record(image, change.id, i, replicas[static_cast<size_t>(i)], defaults));
    change.records.push_back(std::move(record));
  }
  return change;
}

std::vector<Bytes> delete_topic(const TopicImage& topic) {
  protocol::RemoveTopicRecord record;
  record.topic_id = topic.id;
  return {to_record(record, 0)};
}

Result<std::vector<Bytes>> grow_topic(
    const MetadataImage& image, const TopicImage& topic, int32_t count,
    const std::optional<std::vector<std::vector<int32_t>>>& assignments,
    const TopicDefaults& defaults, storage::Random& random) {
  const auto current = static_cast<int32_t>(topic.partitions.size());
  if (count == current) {
    return fail(ErrorCode::kInvalidPartitions,
                "Topic already has " + std::to_string(current) + " partition(s).");
  }
  if (count < current) {
    return fail(ErrorCode::kInvalidPartitions,
                "The topic " + topic.name + " currently has " + std::to_string(current) +
                    " partition(s); " + std::to_string(count) + " would not be an increase.");
  }
  if (count - current > kPartitionsPerRequestMax) {
    return fail(ErrorCode::kPolicyViolation, "Excessively large number of partitions per request.");
  }
  const size_t factor = topic.partitions.begin()->second.replicas.size();
  if (assignments && static_cast<int32_t>(assignments->size()) != count - current) {
    return fail(ErrorCode::kInvalidReplicaAssignment,
                "Attempted to add " + std::to_string(count - current) +
                    " additional partition(s), but only " + std::to_string(assignments->size()) +
                    " assignment(s) were specified.");
  }
  auto placed = assignments ? Result<std::vector<std::vector<int32_t>>>(*assignments)
                            : place_replicas(image, count - current, factor, random);
  if (!placed) {
    return std::unexpected(std::move(placed.error()));
  }
  std::vector<Bytes> records;
  int32_t index = current;
  for (const auto& replicas : *placed) {
    TRY_VOID(check_replicas(image, replicas));
    if (replicas.size() != factor) {
      return fail(ErrorCode::kInvalidReplicaAssignment,
                  "The manual partition assignment has another replication factor than the topic.");
    }
    TRY(auto record, partition_record(image, topic.id, index++, replicas, defaults));
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace klamm::replication
