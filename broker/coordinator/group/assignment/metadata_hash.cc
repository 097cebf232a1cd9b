#include "broker/coordinator/group/assignment/metadata_hash.h"

#include <xxhash.h>

#include <algorithm>
#include <concepts>
#include <vector>

#include "protocol/base/utf16.h"

namespace klamm::broker {
namespace {

// Numbers are little-endian; text is UTF-16 with its length in units behind it.
class HashInput {
 public:
  template <std::integral T>
  void add(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      bytes_.push_back(static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * i)));
    }
  }
  void add(const std::string& text) {
    add_units(text);
    add(units_of(text));
  }
  static int32_t units_of(const std::string& text) {
    int32_t count = 0;
    protocol::for_each_utf16_unit(text, [&](uint16_t) { ++count; });
    return count;
  }
  int64_t hash() const { return static_cast<int64_t>(XXH3_64bits(bytes_.data(), bytes_.size())); }

 private:
  void add_units(const std::string& text) {
    protocol::for_each_utf16_unit(text, [&](uint16_t unit) { add(unit); });
  }
  std::vector<uint8_t> bytes_;
};

std::vector<std::string> racks_of(const replication::PartitionImage& partition,
                                  const replication::MetadataImage& image) {
  std::vector<std::string> racks;
  for (const int32_t replica : partition.replicas) {
    const auto broker = image.brokers.find(replica);
    if (broker != image.brokers.end() && broker->second.rack) {
      racks.push_back(*broker->second.rack);
    }
  }
  std::ranges::sort(racks);
  return racks;
}

int64_t hash_of(const replication::TopicImage& topic, const replication::MetadataImage& image) {
  constexpr int8_t kFormat = 0;
  HashInput in;
  in.add(kFormat);
  in.add(topic.id.high);
  in.add(topic.id.low);
  in.add(topic.name);
  in.add(static_cast<int32_t>(topic.partitions.size()));
  for (const auto& [index, partition] : topic.partitions) {
    in.add(index);
    for (const auto& rack : racks_of(partition, image)) {
      in.add(HashInput::units_of(rack));
      in.add(rack);
    }
  }
  return in.hash();
}

}  // namespace

int64_t MetadataHash::of(const std::set<std::string>& topics,
                         const replication::MetadataImage& image) {
  HashInput in;
  bool is_empty = true;
  for (const auto& name : topics) {
    const auto topic = image.topic(name);
    if (topic == nullptr) {
      known_.erase(name);
      continue;
    }
    Known& known = known_[name];
    if (known.topic != topic) {
      known = {topic, hash_of(*topic, image)};
    }
    in.add(known.hash);
    is_empty = false;
  }
  return is_empty ? 0 : in.hash();
}

}  // namespace klamm::broker
