#include "replication/controller/configs.h"

#include "protocol/generated/clear_elr_record.h"
#include "protocol/generated/config_record.h"
#include "replication/metadata/delta.h"
#include "replication/metadata/features.h"

namespace klamm::replication {

protocol::Bytes config_record(ConfigResource type, const std::string& name, const std::string& key,
                              const std::optional<std::string>& value) {
  protocol::ConfigRecord record;
  record.resource_type = static_cast<int8_t>(type);
  record.resource_name = name;
  record.name = key;
  record.value = value;
  return to_record(record, 0);
}

std::vector<protocol::Bytes> config_records(
    const MetadataImage& image, ConfigResource type, const std::string& name,
    const std::map<std::string, std::optional<std::string>>& updates) {
  std::vector<protocol::Bytes> records;
  for (const auto& [key, value] : updates) {
    records.push_back(config_record(type, name, key, value));
  }
  if (elr_is_enabled(image) && updates.contains("min.insync.replicas")) {
    protocol::ClearElrRecord clear;
    clear.topic_name = type == ConfigResource::kTopic ? name : "";
    records.push_back(to_record(clear, 0));
  }
  return records;
}

}  // namespace klamm::replication
