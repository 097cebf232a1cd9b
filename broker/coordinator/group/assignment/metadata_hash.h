#pragma once
// What a group keeps of the topics that it reads: one number, which changes when one of them gets
// partitions, is made anew, or moves between racks (KIP-1101). XXH3 as Apache Kafka computes it, so
// that a group that changes coordinators is not rebalanced for it.
#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>

#include "replication/metadata/image.h"

namespace klamm::broker {

class MetadataHash {
 public:
  // Of the topics of those names that exist; 0 when none does.
  int64_t of(const std::set<std::string>& topics, const replication::MetadataImage& image);

 private:
  struct Known {
    replication::TopicPtr topic;
    int64_t hash = 0;
  };
  std::unordered_map<std::string, Known> known_;
};

}  // namespace klamm::broker
