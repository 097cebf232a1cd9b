#include "broker/coordinator/share_state/delivery.h"

#include <algorithm>
#include <map>

namespace klamm::broker {
namespace {

using Stretches = std::map<int64_t, DeliveryBatch>;

// Makes `at` the beginning of a stretch, if it is inside of one.
void split(Stretches& stretches, int64_t at) {
  auto found = stretches.upper_bound(at);
  if (found == stretches.begin()) {
    return;
  }
  DeliveryBatch& around = (--found)->second;
  if (around.first < at && around.last >= at) {
    DeliveryBatch rest = around;
    rest.first = at;
    around.last = at - 1;
    stretches[at] = rest;
  }
}

void paint(Stretches& stretches, const DeliveryBatch& batch) {
  split(stretches, batch.first);
  split(stretches, batch.last + 1);
  stretches.erase(stretches.lower_bound(batch.first), stretches.upper_bound(batch.last));
  stretches[batch.first] = batch;
}

}  // namespace

std::vector<DeliveryBatch> combine(const std::vector<DeliveryBatch>& before,
                                   const std::vector<DeliveryBatch>& after, int64_t start) {
  std::vector<DeliveryBatch> all = before;
  all.insert(all.end(), after.begin(), after.end());
  std::ranges::stable_sort(all, {}, [](const DeliveryBatch& batch) {
    return std::tuple(batch.deliveries, batch.state);
  });
  Stretches stretches;
  for (DeliveryBatch batch : all) {
    batch.first = std::max(batch.first, start);
    if (batch.first <= batch.last) {
      paint(stretches, batch);
    }
  }
  std::vector<DeliveryBatch> combined;
  for (const auto& [first, batch] : stretches) {
    if (!combined.empty() && combined.back().last + 1 == first &&
        combined.back().state == batch.state && combined.back().deliveries == batch.deliveries) {
      combined.back().last = batch.last;
    } else {
      combined.push_back(batch);
    }
  }
  return combined;
}

}  // namespace klamm::broker
