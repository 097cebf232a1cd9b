#include "replication/controller/elections.h"

#include <algorithm>

#include "protocol/generated/partition_change_record.h"

namespace klamm::replication {
namespace {

bool contains(const std::vector<int32_t>& list, int32_t id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

std::vector<int32_t> without(std::vector<int32_t> list, int32_t id) {
  std::erase(list, id);
  return list;
}

bool may_lead(const PartitionImage& partition, int32_t broker) {
  if (!partition.isr.empty()) {
    return contains(partition.isr, broker);
  }
  return contains(partition.elr, broker) ||
         (partition.elr.empty() && partition.last_known_elr == std::vector<int32_t>{broker});
}

}  // namespace

std::vector<Bytes> elect_for(const MetadataImage& image, int32_t broker,
                             const Directories& online) {
  std::vector<Bytes> records;
  for (const auto& [name, topic] : image.topics->by_name) {
    for (const auto& [index, partition] : topic->partitions) {
      if (partition.leader != kNoLeader || !may_lead(partition, broker) ||
          !is_online(partition, broker, online)) {
        continue;
      }
      protocol::PartitionChangeRecord change;
      change.partition_id = index;
      change.topic_id = topic->id;
      change.leader = broker;
      if (partition.isr.empty()) {
        change.isr = std::vector<int32_t>{broker};
        if (!partition.elr.empty()) {
          change.eligible_leader_replicas = without(partition.elr, broker);
        }
        if (!partition.last_known_elr.empty()) {
          change.last_known_elr = without(partition.last_known_elr, broker);
        }
      }
      records.push_back(to_record(change, kPartitionChangeVersion));
    }
  }
  return records;
}

}  // namespace klamm::replication
