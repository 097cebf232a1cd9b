#pragma once
// Lists of broker ids, as partitions hold them: short, in an order that means something.
#include <algorithm>
#include <cstdint>
#include <vector>

namespace klamm::replication {

inline bool contains(const std::vector<int32_t>& list, int32_t id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

inline bool contains_all(const std::vector<int32_t>& list, const std::vector<int32_t>& ids) {
  return std::all_of(ids.begin(), ids.end(), [&list](int32_t id) { return contains(list, id); });
}

inline std::vector<int32_t> without(std::vector<int32_t> list, int32_t id) {
  std::erase(list, id);
  return list;
}

inline std::vector<int32_t> without(std::vector<int32_t> list, const std::vector<int32_t>& ids) {
  std::erase_if(list, [&ids](int32_t id) { return contains(ids, id); });
  return list;
}

}  // namespace klamm::replication
