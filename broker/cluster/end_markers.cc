#include "broker/cluster/end_markers.h"

#include "broker/ask_owners.h"

namespace klamm::broker {

namespace {

using Slot = AnswerSlot<ErrorCode>;
using storage::AppendOrigin;

void write(Broker& broker, const EndMarkerToWrite& marker, Slot slot) {
  const auto partition = broker.replicas().find(marker.topic, marker.partition);
  if (!partition) {
    return slot.put(partition.error().code);
  }
  const int64_t now = broker.clock().wall_ms();
  const auto info =
      (*partition)
          ->append(storage::build_end_marker(marker.producer.id, marker.producer.epoch,
                                             {!marker.commits, marker.coordinator_epoch}, now),
                   -1, now, {AppendOrigin::Writer::kCoordinator, marker.version});
  if (!info) {
    return slot.put(info.error().code);
  }
  if (marker.topic == kOffsetsTopic) {
    broker.groups().on_marker(marker.partition, marker.producer.id, marker.commits);
  }
  const PatientAnswer<ErrorCode> answer(broker, std::move(slot),
                                        [](ErrorCode code) { return code; });
  (*partition)->when_committed(info->last_offset + 1, answer);
  answer.expire_after(static_cast<int32_t>(broker.config().number("request.timeout.ms")));
}

}  // namespace

void write_end_markers(Broker& here, std::vector<EndMarkerToWrite> markers,
                       std::move_only_function<void(std::vector<ErrorCode>)> done) {
  ask_owners_for<ErrorCode>(
      here, std::move(markers),
      [&here](const EndMarkerToWrite& marker) {
        return here.owner(marker.topic, marker.partition);
      },
      [](Broker& broker, const EndMarkerToWrite& marker, Slot slot) {
        write(broker, marker, std::move(slot));
      },
      std::move(done));
}

}  // namespace klamm::broker
