#include "replication/controller/directories.h"

#include <algorithm>

namespace klamm::replication {
namespace {

// The place of a broker among the replicas; as many as there are when it has none.
size_t place_of(const PartitionImage& partition, int32_t broker) {
  const auto replica = std::find(partition.replicas.begin(), partition.replicas.end(), broker);
  return static_cast<size_t>(replica - partition.replicas.begin());
}

}  // namespace

std::vector<Bytes> take_offline(const MetadataImage& image, int32_t broker,
                                const std::set<Uuid>& offline) {
  std::vector<Bytes> records;
  BrokerChanges changes;
  changes.offline = offline;
  for (const auto& [name, topic] : image.topics->by_name) {
    for (const auto& [index, partition] : topic->partitions) {
      const size_t place = place_of(partition, broker);
      if (place >= partition.directories.size() ||
          !offline.contains(partition.directories[place])) {
        continue;
      }
      PartitionChange change(image, *topic, index, changes);
      std::vector<int32_t> isr = partition.isr;
      std::erase(isr, broker);
      change.set_isr(std::move(isr));
      if (auto record = change.build()) {
        records.push_back(std::move(*record));
      }
    }
  }
  return records;
}

std::vector<Bytes> assign_directory(const MetadataImage& image, int32_t broker,
                                    const TopicImage& topic, int32_t partition,
                                    const Uuid& directory) {
  const auto known = topic.partitions.find(partition);
  if (known == topic.partitions.end()) {
    return {};
  }
  const size_t place = place_of(known->second, broker);
  std::vector<Uuid> directories = known->second.directories;
  directories.resize(known->second.replicas.size());
  if (place == known->second.replicas.size() || directories[place] == directory) {
    return {};
  }
  directories[place] = directory;
  PartitionChange change(image, topic, partition);
  change.set_directories(std::move(directories));
  auto record = change.build();
  return record ? std::vector<Bytes>{std::move(*record)} : std::vector<Bytes>{};
}

}  // namespace klamm::replication
