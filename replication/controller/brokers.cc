#include "replication/controller/brokers.h"

#include <algorithm>

#include "protocol/generated/broker_registration_change_record.h"
#include "protocol/generated/register_broker_record.h"
#include "protocol/generated/register_controller_record.h"
#include "protocol/generated/unregister_broker_record.h"
#include "replication/controller/directories.h"

namespace klamm::replication {

using namespace protocol;

namespace {

constexpr int8_t kFence = 1;
constexpr int8_t kUnfence = -1;
constexpr int8_t kStopping = 1;
constexpr int16_t kRegisterBrokerVersion = 4;
constexpr int16_t kRegistrationChangeVersion = 3;

// Where a node listens and what it supports, from its registration into the record.
template <class Request, class Record>
void take_description(const Request& request, Record& record) {
  for (const auto& listener : request.listeners) {
    record.end_points.push_back({.name = listener.name,
                                 .host = listener.host,
                                 .port = listener.port,
                                 .security_protocol = listener.security_protocol});
  }
  for (const auto& feature : request.features) {
    record.features.push_back({.name = feature.name,
                               .min_supported_version = feature.min_supported_version,
                               .max_supported_version = feature.max_supported_version});
  }
}

Bytes registration_record(const BrokerRegistrationRequest& request, int64_t epoch) {
  RegisterBrokerRecord record;
  record.broker_id = request.broker_id;
  record.incarnation_id = request.incarnation_id;
  record.broker_epoch = epoch;
  record.fenced = true;
  record.rack = request.rack;
  take_description(request, record);
  record.log_dirs = request.log_dirs;
  std::sort(record.log_dirs.begin(), record.log_dirs.end());
  return to_record(record, kRegisterBrokerVersion);
}

Result<> check_directories(const MetadataImage& image, const BrokerRegistrationRequest& request) {
  const std::set<Uuid> mine(request.log_dirs.begin(), request.log_dirs.end());
  if (mine.size() != request.log_dirs.size() || mine.empty() ||
      !std::all_of(mine.begin(), mine.end(), is_directory)) {
    return fail(ErrorCode::kInvalidRegistration,
                "The log directories of a broker must be named, each once, and by no reserved id.");
  }
  for (const auto& [id, broker] : image.brokers) {
    for (const Uuid& directory : broker.directories) {
      if (id != request.broker_id && mine.contains(directory)) {
        return fail(ErrorCode::kInvalidRegistration, "Broker " + std::to_string(id) +
                                                         " is already registered with directory " +
                                                         directory.to_string());
      }
    }
  }
  return {};
}

Result<> check_features(const MetadataImage& image, const BrokerRegistrationRequest& request) {
  for (const auto& [name, level] : image.features) {
    const auto known = std::find_if(request.features.begin(), request.features.end(),
                                    [&](const auto& feature) { return feature.name == name; });
    const bool fits = known != request.features.end() ? level >= known->min_supported_version &&
                                                            level <= known->max_supported_version
                                                      : level == 0;
    if (!fits) {
      return fail(ErrorCode::kUnsupportedVersion,
                  "Unable to register because the broker does not "
                  "support finalized version " +
                      std::to_string(level) + " of " + name);
    }
  }
  return {};
}

}  // namespace

void Brokers::begin(const MetadataImage& image, int64_t now_ms) {
  sessions_.clear();
  for (const auto& [id, broker] : image.brokers) {
    sessions_[id].heard_ms = now_ms;
  }
}

bool Brokers::is_alive(int32_t broker, int64_t now_ms) const {
  const auto session = sessions_.find(broker);
  return session != sessions_.end() && session->second.metadata_offset >= 0 &&
         now_ms - session->second.heard_ms < session_timeout_ms_;
}

Result<Brokers::Registered> Brokers::enter(const MetadataImage& image,
                                           const std::string& cluster_id,
                                           const BrokerRegistrationRequest& request, int64_t epoch,
                                           int64_t now_ms) {
  if (request.cluster_id != cluster_id) {
    return fail(ErrorCode::kInconsistentClusterId,
                "Expected cluster ID " + cluster_id + ", but got cluster ID " + request.cluster_id);
  }
  TRY_VOID(check_directories(image, request));
  TRY_VOID(check_features(image, request));
  Registered registered{epoch, {}};
  const auto known = image.brokers.find(request.broker_id);
  if (known != image.brokers.end()) {
    const bool is_same = known->second.incarnation == request.incarnation_id;
    if (!is_same && !known->second.fenced && is_alive(request.broker_id, now_ms)) {
      return fail(ErrorCode::kDuplicateBrokerRegistration,
                  "Another broker is registered with that broker id.");
    }
    BrokerChanges changes;
    changes.gone = {request.broker_id};
    const bool was_clean = request.previous_broker_epoch == known->second.epoch;
    if (!is_same && !was_clean) {
      changes.lost = changes.gone;
    }
    // What it led goes to others; alone and stopped cleanly it takes up where it was.
    if (!changes.lost.empty() || (!known->second.fenced && image.brokers.size() > 1)) {
      registered.records = without_broker(image, request.broker_id, changes);
    }
    registered.epoch += static_cast<int64_t>(registered.records.size());
  }
  registered.records.push_back(registration_record(request, registered.epoch));
  sessions_[request.broker_id] = {.heard_ms = now_ms};
  return registered;
}

std::vector<Bytes> Brokers::change(const MetadataImage& image, int32_t broker, int8_t fenced,
                                   int8_t shutdown) const {
  BrokerRegistrationChangeRecord record;
  record.broker_id = broker;
  record.broker_epoch = image.brokers.at(broker).epoch;
  record.fenced = fenced;
  record.in_controlled_shutdown = shutdown;
  return {to_record(record, kRegistrationChangeVersion)};
}

std::vector<Bytes> Brokers::fence(const MetadataImage& image, int32_t broker) {
  BrokerChanges changes;
  changes.gone = {broker};
  auto records = change(image, broker, kFence, 0);
  auto moved = without_broker(image, broker, changes);
  records.insert(records.end(), moved.begin(), moved.end());
  return records;
}

Result<std::vector<Bytes>> Brokers::unregister(const MetadataImage& image, int32_t broker) {
  const auto known = image.brokers.find(broker);
  if (known == image.brokers.end()) {
    return fail(ErrorCode::kBrokerIdNotRegistered,
                "Broker ID " + std::to_string(broker) + " is not currently registered");
  }
  auto records = without_broker(image, broker, {.gone = {broker}});
  UnregisterBrokerRecord record;
  record.broker_id = broker;
  record.broker_epoch = known->second.epoch;
  records.push_back(to_record(record, 0));
  sessions_.erase(broker);
  return records;
}

int64_t Brokers::lowest_offset(const MetadataImage& image) const {
  int64_t lowest = INT64_MAX;
  for (const auto& [id, session] : sessions_) {
    const auto broker = image.brokers.find(id);
    if (broker != image.brokers.end() && !broker->second.fenced &&
        !broker->second.in_controlled_shutdown) {
      lowest = std::min(lowest, session.metadata_offset);
    }
  }
  return lowest;
}

// A controlled shutdown: first what it leads moves, and it may go when it leads nothing more and
// the others know.
std::vector<Bytes> Brokers::stop(const MetadataImage& image, int32_t broker, int64_t offset,
                                 BrokerHeartbeatResponse& response) {
  const BrokerImage& known = image.brokers.at(broker);
  Session& session = sessions_[broker];
  response.is_fenced = known.fenced;
  if (known.fenced) {
    response.should_shut_down = true;
    return {};
  }
  if (!known.in_controlled_shutdown) {
    BrokerChanges changes;
    changes.gone = {broker};
    auto records = change(image, broker, 0, kStopping);
    auto moved = without_broker(image, broker, changes);
    records.insert(records.end(), moved.begin(), moved.end());
    session.shutdown_offset = offset + static_cast<int64_t>(records.size());
    return records;
  }
  if (leads_any(image, broker) || lowest_offset(image) < session.shutdown_offset) {
    return {};
  }
  response.should_shut_down = true;
  response.is_fenced = true;
  return fence(image, broker);
}

Brokers::Beat Brokers::heartbeat(const MetadataImage& image, const BrokerHeartbeatRequest& request,
                                 int64_t now_ms) {
  Beat beat;
  const auto known = image.brokers.find(request.broker_id);
  if (known == image.brokers.end()) {
    beat.response.error_code = ErrorCode::kBrokerIdNotRegistered;
    return beat;
  }
  const BrokerImage& broker = known->second;
  if (broker.epoch != request.broker_epoch) {
    beat.response.error_code = ErrorCode::kStaleBrokerEpoch;
    return beat;
  }
  Session& session = sessions_[request.broker_id];
  session.heard_ms = now_ms;
  session.metadata_offset = request.current_metadata_offset;
  beat.response.is_fenced = broker.fenced;
  beat.response.is_caught_up = request.current_metadata_offset >= broker.epoch;
  if (request.want_shut_down) {
    beat.records = stop(image, request.broker_id, image.offset, beat.response);
  } else if (broker.fenced && !request.want_fence && beat.response.is_caught_up) {
    BrokerChanges changes;
    changes.back = {request.broker_id};
    beat.records =
        change(image, request.broker_id, kUnfence, broker.in_controlled_shutdown ? -1 : 0);
    auto led = with_broker(image, request.broker_id, changes);
    beat.records.insert(beat.records.end(), led.begin(), led.end());
    beat.response.is_fenced = false;
  } else if (!broker.fenced && request.want_fence) {
    beat.records = fence(image, request.broker_id);
    beat.response.is_fenced = true;
  }
  std::set<Uuid> offline;
  for (const Uuid& directory : request.offline_log_dirs) {
    if (std::find(broker.directories.begin(), broker.directories.end(), directory) !=
        broker.directories.end()) {
      offline.insert(directory);
    }
  }
  if (!offline.empty() && beat.records.empty()) {
    BrokerRegistrationChangeRecord record;
    record.broker_id = request.broker_id;
    record.broker_epoch = broker.epoch;
    for (const Uuid& directory : broker.directories) {
      if (!offline.contains(directory)) {
        record.log_dirs.push_back(directory);
      }
    }
    beat.records = {to_record(record, kRegistrationChangeVersion)};
    auto moved = take_offline(image, request.broker_id, offline);
    beat.records.insert(beat.records.end(), moved.begin(), moved.end());
  }
  return beat;
}

bool Brokers::may_expire(const MetadataImage& image, int32_t broker) const {
  const auto known = image.brokers.find(broker);
  return broker != self_ && known != image.brokers.end() && !known->second.fenced;
}

std::optional<int32_t> Brokers::expired(const MetadataImage& image, int64_t now_ms) const {
  for (const auto& [id, session] : sessions_) {
    if (may_expire(image, id) && now_ms - session.heard_ms >= session_timeout_ms_) {
      return id;
    }
  }
  return std::nullopt;
}

int64_t Brokers::next_expiry_ms(const MetadataImage& image) const {
  int64_t next = INT64_MAX;
  for (const auto& [id, session] : sessions_) {
    if (may_expire(image, id)) {
      next = std::min(next, session.heard_ms + session_timeout_ms_);
    }
  }
  return next;
}

std::vector<Bytes> register_controller(const MetadataImage& image,
                                       const ControllerRegistrationRequest& request) {
  RegisterControllerRecord record;
  record.controller_id = request.controller_id;
  record.incarnation_id = request.incarnation_id;
  take_description(request, record);
  Bytes bytes = to_record(record, 0);
  const auto known = image.controllers.find(request.controller_id);
  if (known != image.controllers.end() && known->second.registration == bytes) {
    return {};
  }
  return {std::move(bytes)};
}

}  // namespace klamm::replication
