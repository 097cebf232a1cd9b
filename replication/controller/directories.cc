#include "replication/controller/directories.h"

#include <algorithm>

#include "protocol/generated/partition_change_record.h"

namespace klamm::replication {
namespace {

// The place of a broker among the replicas; as many as there are when it has none.
size_t place_of(const PartitionImage& partition, int32_t broker) {
  const auto replica = std::find(partition.replicas.begin(), partition.replicas.end(), broker);
  return static_cast<size_t>(replica - partition.replicas.begin());
}

}  // namespace

bool is_online(const PartitionImage& partition, int32_t broker, const Directories& online) {
  const size_t place = place_of(partition, broker);
  if (place >= partition.directories.size()) {
    return true;
  }
  const Uuid& directory = partition.directories[place];
  return !is_directory(directory) || online.contains(directory);
}

std::vector<Bytes> take_offline(const MetadataImage& image, int32_t broker,
                                const Directories& online) {
  std::vector<Bytes> records;
  for (const auto& [name, topic] : image.topics->by_name) {
    for (const auto& [index, partition] : topic->partitions) {
      if (partition.leader != broker || is_online(partition, broker, online)) {
        continue;
      }
      protocol::PartitionChangeRecord change;
      change.partition_id = index;
      change.topic_id = topic->id;
      change.leader = kNoLeader;
      records.push_back(to_record(change, kPartitionChangeVersion));
    }
  }
  return records;
}

std::vector<Bytes> assign_directory(const MetadataImage& image, int32_t broker,
                                    const std::string& topic, int32_t partition,
                                    const Uuid& directory) {
  const PartitionImage* const known = image.partition(topic, partition);
  if (known == nullptr) {
    return {};
  }
  const size_t place = place_of(*known, broker);
  std::vector<Uuid> directories = known->directories;
  directories.resize(known->replicas.size());
  if (place == known->replicas.size() || directories[place] == directory) {
    return {};
  }
  directories[place] = directory;
  protocol::PartitionChangeRecord change;
  change.partition_id = partition;
  change.topic_id = image.topic(topic)->id;
  change.directories = directories;
  return {to_record(change, kPartitionChangeVersion)};
}

}  // namespace klamm::replication
