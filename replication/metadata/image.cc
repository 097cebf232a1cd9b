#include "replication/metadata/image.h"

namespace klamm::replication {

TopicPtr MetadataImage::topic(const std::string& name) const {
  const auto found = topics->by_name.find(name);
  return found == topics->by_name.end() ? nullptr : found->second;
}

TopicPtr MetadataImage::topic(const Uuid& id) const {
  const auto found = topics->by_id.find(id);
  return found == topics->by_id.end() ? nullptr : found->second;
}

const PartitionImage* MetadataImage::partition(const std::string& name, int32_t partition) const {
  const TopicPtr found = topic(name);
  if (found == nullptr) {
    return nullptr;
  }
  const auto at = found->partitions.find(partition);
  return at == found->partitions.end() ? nullptr : &at->second;
}

const ConfigEntries& MetadataImage::config(ConfigResource type, const std::string& name) const {
  static const ConfigEntries kNone;
  const auto found = configs->find({type, name});
  return found == configs->end() ? kNone : found->second;
}

}  // namespace klamm::replication
