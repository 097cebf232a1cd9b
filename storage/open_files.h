#pragma once
// Bounds how many files the segments of one shard hold open: the one that was used longest ago is
// closed and opens again when it is next asked for. Its indexes go with it where the disk has them.
#include <cstddef>
#include <cstdint>
#include <list>

namespace klamm::storage {

class Segment;

class OpenFiles {
 public:
  explicit OpenFiles(size_t max = SIZE_MAX) : max_(max) {}
  size_t count() const { return used_.size(); }

 private:
  friend class Segment;
  using Place = std::list<Segment*>::iterator;

  Place opened(Segment& segment);
  void touch(Place place) { used_.splice(used_.begin(), used_, place); }
  void closed(Place place) { used_.erase(place); }

  size_t max_;
  std::list<Segment*> used_;  // the one used last stands in front
};

}  // namespace klamm::storage
