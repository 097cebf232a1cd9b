#pragma once
// What became of the records that a share group was given (KIP-932), in stretches of offsets.
#include <cstdint>
#include <tuple>
#include <vector>

namespace klamm::broker {

// The numbers are those of the records and of the wire.
enum class DeliveryState : int8_t {
  kAvailable = 0,
  kAcquired = 1,  // never kept: who had it is gone after a restart
  kAcknowledged = 2,
  kArchived = 4
};

// Whether nobody is given it any more.
constexpr bool is_final(DeliveryState state) {
  return state == DeliveryState::kAcknowledged || state == DeliveryState::kArchived;
}

struct DeliveryBatch {
  int64_t first = 0;
  int64_t last = 0;  // inclusive
  DeliveryState state = DeliveryState::kAvailable;
  int16_t deliveries = 0;
  bool operator==(const DeliveryBatch&) const = default;
};

// Both together, from `start` on (-1: from the beginning), without overlaps and with equal
// neighbours joined. Where they say different things, the later delivery counts, and for one
// delivery the further state.
std::vector<DeliveryBatch> combine(const std::vector<DeliveryBatch>& before,
                                   const std::vector<DeliveryBatch>& after, int64_t start);

}  // namespace klamm::broker
