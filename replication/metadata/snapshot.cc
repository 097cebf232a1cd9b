#include "replication/metadata/snapshot.h"

#include "protocol/generated/config_record.h"
#include "protocol/generated/feature_level_record.h"
#include "protocol/generated/partition_record.h"
#include "protocol/generated/producer_ids_record.h"
#include "protocol/generated/register_broker_record.h"
#include "protocol/generated/topic_record.h"

namespace klamm::replication {

using namespace protocol;

namespace {

constexpr int16_t kPartitionVersion = 2;
constexpr const char* kMetadataVersion = "metadata.version";

// The registration with what has changed since.
Bytes registration_of(const BrokerImage& broker) {
  const int16_t version = record_version(broker.registration);
  auto record = from_record<RegisterBrokerRecord>(broker.registration);
  record.fenced = broker.fenced;
  record.in_controlled_shutdown = broker.in_controlled_shutdown;
  if (version >= 3) {
    record.log_dirs = broker.directories;
  }
  return to_record(record, version);
}

Bytes feature(const std::string& name, int16_t level) {
  FeatureLevelRecord record;
  record.name = name;
  record.feature_level = level;
  return to_record(record, 0);
}

std::optional<std::vector<int32_t>> if_any(const std::vector<int32_t>& ids) {
  return ids.empty() ? std::nullopt : std::optional(ids);
}

Bytes partition_record(const Uuid& topic, int32_t index, const PartitionImage& partition) {
  PartitionRecord record;
  record.partition_id = index;
  record.topic_id = topic;
  record.replicas = partition.replicas;
  record.isr = partition.isr;
  record.eligible_leader_replicas = if_any(partition.elr);
  record.last_known_elr = if_any(partition.last_known_elr);
  record.directories = partition.directories;
  record.adding_replicas = partition.adding;
  record.removing_replicas = partition.removing;
  record.leader_recovery_state = partition.recovery_state;
  record.leader = partition.leader;
  record.leader_epoch = partition.leader_epoch;
  record.partition_epoch = partition.partition_epoch;
  return to_record(record, kPartitionVersion);
}

void add_topic(const TopicImage& topic, std::vector<Bytes>& records) {
  TopicRecord record;
  record.name = topic.name;
  record.topic_id = topic.id;
  records.push_back(to_record(record, 0));
  for (const auto& [index, partition] : topic.partitions) {
    records.push_back(partition_record(topic.id, index, partition));
  }
}

void add_configs(const MetadataImage& image, std::vector<Bytes>& records) {
  for (const auto& [resource, entries] : *image.configs) {
    for (const auto& [name, value] : entries) {
      ConfigRecord record;
      record.resource_type = static_cast<int8_t>(resource.first);
      record.resource_name = resource.second;
      record.name = name;
      record.value = value;
      records.push_back(to_record(record, 0));
    }
  }
}

}  // namespace

std::vector<Bytes> to_records(const MetadataImage& image) {
  std::vector<Bytes> records;
  // What the others may say depends on the metadata version, so it comes first.
  if (const auto version = image.features.find(kMetadataVersion); version != image.features.end()) {
    records.push_back(feature(version->first, version->second));
  }
  for (const auto& [name, level] : image.features) {
    if (name != kMetadataVersion && level > 0) {
      records.push_back(feature(name, level));
    }
  }
  for (const auto& [id, controller] : image.controllers) {
    records.push_back(controller.registration);
  }
  for (const auto& [id, broker] : image.brokers) {
    records.push_back(registration_of(broker));
  }
  for (const auto& [name, topic] : image.topics->by_name) {
    add_topic(*topic, records);
  }
  add_configs(image, records);
  if (image.next_producer_id > 0) {
    ProducerIdsRecord record;
    record.broker_id = -1;
    record.broker_epoch = -1;
    record.next_producer_id = image.next_producer_id;
    records.push_back(to_record(record, 0));
  }
  records.insert(records.end(), image.others->begin(), image.others->end());
  return records;
}

}  // namespace klamm::replication
