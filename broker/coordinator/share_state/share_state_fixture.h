#pragma once
// For tests of the share coordinator.
#include <memory>

#include "replication/metadata/image.h"

namespace klamm::broker {

// A cluster with one topic, known by its id alone.
inline replication::ImagePtr image_with_topic(const protocol::Uuid& id, int32_t partitions) {
  auto topic = std::make_shared<replication::TopicImage>();
  topic->id = id;
  for (int32_t i = 0; i < partitions; ++i) {
    topic->partitions[i] = {};
  }
  auto topics = std::make_shared<replication::TopicsImage>();
  topics->by_id[id] = std::move(topic);
  auto image = std::make_shared<replication::MetadataImage>();
  image->topics = std::move(topics);
  return image;
}

}  // namespace klamm::broker
