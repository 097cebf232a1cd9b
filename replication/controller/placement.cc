#include "replication/controller/placement.h"

#include <algorithm>
#include <map>
#include <string>

namespace klamm::replication {
namespace {

struct Rack {
  std::vector<int32_t> active;
  std::vector<int32_t> inactive;
  size_t offset = 0;  // where the next leader of this rack is looked for
};

class Placement {
 public:
  Placement(const MetadataImage& image, storage::Random& random) {
    std::map<std::string, Rack> by_name;
    for (const auto& [id, broker] : image.brokers) {
      Rack& rack = by_name[broker.rack.value_or("")];
      (is_active(broker) ? rack.active : rack.inactive).push_back(id);
    }
    for (auto& [name, rack] : by_name) {
      rack.offset = random.next() % (rack.active.size() + rack.inactive.size());
      racks_.push_back(std::move(rack));
    }
    next_rack_ = racks_.empty() ? 0 : random.next() % racks_.size();
  }

  std::vector<int32_t> next(size_t factor) {
    std::vector<int32_t> replicas;
    take(replicas, factor, &Rack::active);
    take(replicas, factor, &Rack::inactive);
    ++racks_[next_rack_].offset;
    next_rack_ = (next_rack_ + 1) % racks_.size();
    return replicas;
  }

 private:
  // One from each rack in turn until there are enough or no more.
  void take(std::vector<int32_t>& replicas, size_t factor, std::vector<int32_t> Rack::* brokers) {
    bool any = true;
    for (size_t round = 0; any && replicas.size() < factor; ++round) {
      any = false;
      for (size_t i = 0; i < racks_.size() && replicas.size() < factor; ++i) {
        const Rack& rack = racks_[(next_rack_ + i) % racks_.size()];
        const auto& from = rack.*brokers;
        if (round < from.size()) {
          replicas.push_back(from[(rack.offset + round) % from.size()]);
          any = true;
        }
      }
    }
  }

  std::vector<Rack> racks_;
  size_t next_rack_ = 0;
};

}  // namespace

Result<std::vector<std::vector<int32_t>>> place_replicas(const MetadataImage& image, int32_t count,
                                                         size_t factor, storage::Random& random) {
  const auto refuse = [factor](const std::string& why) {
    return fail(ErrorCode::kInvalidReplicationFactor,
                "Unable to replicate the partition " + std::to_string(factor) + " time(s): " + why);
  };
  if (factor > image.brokers.size()) {
    return refuse("The target replication factor of " + std::to_string(factor) +
                  " cannot be reached because only " + std::to_string(image.brokers.size()) +
                  " broker(s) are registered.");
  }
  if (std::none_of(image.brokers.begin(), image.brokers.end(),
                   [](const auto& broker) { return is_active(broker.second); })) {
    return refuse("All brokers are currently fenced or in controlled shutdown.");
  }
  Placement placement(image, random);
  std::vector<std::vector<int32_t>> replicas;
  for (int32_t i = 0; i < count; ++i) {
    replicas.push_back(placement.next(factor));
  }
  return replicas;
}

}  // namespace klamm::replication
