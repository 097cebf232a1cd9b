#pragma once
// Topic decisions of the controller: pure functions from an image and a wish to records. Error
// codes and messages are those of the reference.
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "replication/metadata/delta.h"
#include "replication/metadata/image.h"
#include "storage/env/clock.h"

namespace klamm::replication {

struct NewTopic {
  std::string name;
  int32_t partitions = -1;          // -1: the default
  int16_t replication_factor = -1;  // -1: the default
  std::map<int32_t, std::vector<int32_t>>
      assignments;        // by hand; partitions and factor are then -1
  ConfigEntries configs;  // checked by the caller
};

struct TopicDefaults {
  int32_t partitions = 1;
  int16_t replication_factor = 1;
  // The directory in which a broker is to keep a new replica; zero when the broker decides.
  std::function<Uuid(int32_t broker)> directory = [](int32_t) { return Uuid{}; };
};

struct TopicChange {
  Uuid id;
  int32_t partitions = 0;
  int16_t replication_factor = 0;
  std::vector<Bytes> records;
};

// INVALID_TOPIC_EXCEPTION unless the name is 1 to 249 letters, digits, '.', '_' or '-', and neither
// "." nor "..".
Result<> check_topic_name(const std::string& name);

// INVALID_REPLICA_ASSIGNMENT unless the list names registered brokers, each once.
Result<> check_replicas(const MetadataImage& image, const std::vector<int32_t>& replicas);

// Errors: INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS,
// INVALID_REPLICATION_FACTOR, INVALID_REPLICA_ASSIGNMENT, INVALID_REQUEST.
Result<TopicChange> create_topic(const MetadataImage& image, const NewTopic& topic,
                                 const TopicDefaults& defaults, storage::Random& random);
// UNKNOWN_TOPIC_OR_PARTITION / UNKNOWN_TOPIC_ID are the caller's; the topic exists.
std::vector<Bytes> delete_topic(const TopicImage& topic);
// Grows the topic to `count` partitions. Errors: INVALID_PARTITIONS, INVALID_REPLICA_ASSIGNMENT.
Result<std::vector<Bytes>> grow_topic(
    const MetadataImage& image, const TopicImage& topic, int32_t count,
    const std::optional<std::vector<std::vector<int32_t>>>& assignments,
    const TopicDefaults& defaults, storage::Random& random);

}  // namespace klamm::replication
