#include "broker/sim/sharers.h"

#include <algorithm>

#include "protocol/generated/incremental_alter_configs_request.h"
#include "protocol/generated/incremental_alter_configs_response.h"
#include "protocol/generated/share_acknowledge_request.h"
#include "protocol/generated/share_acknowledge_response.h"
#include "protocol/generated/share_fetch_request.h"
#include "protocol/generated/share_group_heartbeat_request.h"
#include "protocol/generated/share_group_heartbeat_response.h"
#include "protocol/records/batch.h"

namespace klamm::broker::sim {

using namespace protocol;

namespace {

constexpr const char* kGroup = "s";
constexpr int8_t kGroupKey = 0;
constexpr int8_t kGroupConfig = 32;
constexpr int64_t kRetryMs = 60;
constexpr int64_t kHeartbeatMs = 500;
constexpr int64_t kLockMs = 15'000;
constexpr int8_t kAccept = 1;
constexpr int8_t kRelease = 2;

// Of the one partition that was asked for; null when it is not there or was refused.
template <class Response>
auto* only_partition(const Result<Response>& answer) {
  using Partition = std::remove_reference_t<decltype(answer->responses[0].partitions[0])>;
  const bool is_there = answer && answer->error_code == ErrorCode::kNone &&
                        answer->responses.size() == 1 &&
                        answer->responses[0].partitions.size() == 1 &&
                        answer->responses[0].partitions[0].error_code == ErrorCode::kNone;
  return is_there ? &answer->responses[0].partitions[0] : static_cast<Partition*>(nullptr);
}

}  // namespace

Sharers::Sharers(SimCluster& cluster, std::string topic, int32_t partitions, int readers)
    : cluster_(cluster), topic_(std::move(topic)) {
  for (int32_t i = 0; i < partitions * readers; ++i) {
    readers_.push_back({.partition = i % partitions});
  }
}

bool Sharers::create() {
  if (!configured_ && !std::exchange(configuring_, true)) {
    IncrementalAlterConfigsRequest request;
    request.resources = {
        {.resource_type = kGroupConfig,
         .resource_name = kGroup,
         .configs = {{.name = "share.auto.offset.reset", .value = "earliest"},
                     {.name = "share.isolation.level", .value = "read_committed"},
                     {.name = "share.delivery.count.limit", .value = "10"},
                     {.name = "share.record.lock.duration.ms", .value = std::to_string(kLockMs)}}}};
    cluster_.ask<IncrementalAlterConfigsResponse>(
        chance(cluster_.size()), std::move(request), kClientTimeoutMs,
        [this](const Result<IncrementalAlterConfigsResponse>& answer) {
          configuring_ = false;
          configured_ = answer && answer->responses.size() == 1 &&
                        answer->responses[0].error_code == ErrorCode::kNone;
        });
  }
  return configured_;
}

void Sharers::start(const Uuid& topic_id) {
  topic_id_ = topic_id;
  heartbeat();
  for (Reader& reader : readers_) {
    begin_life(reader);
  }
}

bool Sharers::is_idle() const { return !beating_ && std::ranges::none_of(readers_, &Reader::busy); }

// One member speaks for all: sessions need no member, but nobody may read what the group has not
// been given yet.
void Sharers::heartbeat() {
  beating_ = !stopping_;
  if (stopping_) {
    return;
  }
  find_coordinator(cluster_, kGroupKey, kGroup, [this](size_t node) {
    ShareGroupHeartbeatRequest request;
    request.group_id = kGroup;
    request.member_id = "member";
    request.member_epoch = member_epoch_;
    request.subscribed_topic_names = std::vector<std::string>{topic_};
    cluster_.ask<ShareGroupHeartbeatResponse>(
        node, std::move(request), kClientTimeoutMs,
        [this](const Result<ShareGroupHeartbeatResponse>& answer) {
          if (answer) {
            note_assignment(*answer);
            const ErrorCode code = answer->error_code;
            const bool is_out = code == ErrorCode::kFencedMemberEpoch ||
                                code == ErrorCode::kUnknownMemberId ||
                                code == ErrorCode::kGroupIdNotFound;
            member_epoch_ = code == ErrorCode::kNone ? answer->member_epoch
                            : is_out                 ? 0
                                                     : member_epoch_;
            if (!is_out && code != ErrorCode::kNone && code != ErrorCode::kNotCoordinator &&
                code != ErrorCode::kCoordinatorNotAvailable &&
                code != ErrorCode::kCoordinatorLoadInProgress) {
              wrong_ = "a member of the share group was told " + std::string(name_of(code));
            }
          }
          cluster_.after(kHeartbeatMs, [this] { heartbeat(); });
        });
  });
}

void Sharers::note_assignment(const ShareGroupHeartbeatResponse& answer) {
  if (answer.assignment) {
    for (const auto& topic : answer.assignment->topic_partitions) {
      assigned_.insert(topic.partitions.begin(), topic.partitions.end());
    }
  }
}

// A member that nobody knows yet; what the one before had becomes free when its time is over.
void Sharers::begin_life(Reader& reader) {
  reader.member = "m" + std::to_string(++lives_);
  reader.session_epoch = 0;
  reader.held = {};
  go_on(reader);
}

void Sharers::go_on(Reader& reader) {
  reader.busy = !stopping_;
  if (stopping_) {
    return;
  }
  cluster_.after(static_cast<int64_t>(chance(kRetryMs)), [this, &reader] {
    !assigned_.contains(reader.partition) ? go_on(reader)
    : reader.held.ranges.empty()          ? fetch(reader)
    : chance(24) == 0                     ? begin_life(reader)
                                          : acknowledge(reader);
  });
}

void Sharers::fetch(Reader& reader) {
  const size_t node = leader_of(cluster_, topic_, reader.partition, reader.guess);
  if (std::exchange(reader.node, node) != node) {
    reader.session_epoch = 0;
  }
  ShareFetchRequest request;
  request.group_id = kGroup;
  request.member_id = reader.member;
  request.share_session_epoch = reader.session_epoch;
  request.max_wait_ms = 200;
  request.min_bytes = 1;
  request.max_records = 8;
  request.batch_size = 8;
  request.topics = {
      {.topic_id = topic_id_,
       .partitions = {{.partition_index = reader.partition, .partition_max_bytes = 4096}}}};
  cluster_.ask<ShareFetchResponse>(node, std::move(request), kClientTimeoutMs,
                                   [this, &reader, asked_ms = cluster_.now_ms(),
                                    leader = newest_leader(cluster_, topic_, reader.partition)](
                                       const Result<ShareFetchResponse>& answer) {
                                     const bool is_sound =
                                         answer && answer->error_code == ErrorCode::kNone;
                                     reader.session_epoch = is_sound ? reader.session_epoch + 1 : 0;
                                     if (const auto* const partition = only_partition(answer)) {
                                       take(reader, *partition, asked_ms, leader);
                                     }
                                     go_on(reader);
                                   });
}

void Sharers::take(Reader& reader, const ShareFetchResponse::PartitionData& data, int64_t asked_ms,
                   const Leader& leader) {
  std::map<int64_t, std::string> values;
  const Bytes records = data.records.bytes();
  std::span<const uint8_t> left = records.span();
  for (auto batch = BatchView::parse(left); batch; batch = BatchView::parse(left)) {
    left = left.subspan(batch->size());
    if (!batch->is_control()) {
      each_record(*batch, [&](int64_t offset, const std::string& text) { values[offset] = text; });
    }
  }
  for (const auto& acquired : data.acquired_records) {
    reader.held.ranges.emplace_back(acquired.first_offset, acquired.last_offset);
    for (auto it = values.lower_bound(acquired.first_offset);
         it != values.end() && it->first <= acquired.last_offset; ++it) {
      reader.held.values.push_back(it->second);
      give(reader, it->second, asked_ms, leader);
    }
  }
}

void Sharers::give(Reader& reader, const std::string& value, int64_t asked_ms,
                   const Leader& leader) {
  ++given_[value];
  // One that leads no longer, and has not heard of it, gives what it likes; nobody keeps what is
  // said of it.
  if (leader.node != reader.node || leader != newest_leader(cluster_, topic_, reader.partition)) {
    return;
  }
  if (const auto acked = acked_.find(value); acked != acked_.end() && acked->second <= asked_ms) {
    wrong_ = value + " was given out " + std::to_string(asked_ms - acked->second) +
             " ms after it was acknowledged";
  }
  const int64_t now_ms = cluster_.now_ms();
  if (const auto loan = loans_.find(value);
      loan != loans_.end() && loan->second.reader != &reader && loan->second.given_ms <= asked_ms &&
      now_ms < loan->second.asked_ms + kLockMs && loan->second.leader_epoch == leader.epoch) {
    wrong_ = wrong_.empty()
                 ? value + " was given to " + reader.member + ", which had asked at " +
                       std::to_string(asked_ms) + " ms, " +
                       std::to_string(now_ms - loan->second.given_ms) + " ms after " +
                       loan->second.member + " was given it, for longer than that; leader epoch " +
                       std::to_string(leader.epoch)
                 : wrong_;
  }
  loans_[value] = {&reader, reader.member, asked_ms, now_ms, leader.epoch};
}

void Sharers::acknowledge(Reader& reader) {
  const bool accepts = chance(8) != 0;
  ShareAcknowledgeRequest request;
  request.group_id = kGroup;
  request.member_id = reader.member;
  request.share_session_epoch = reader.session_epoch;
  auto& topic = request.topics.emplace_back();
  topic.topic_id = topic_id_;
  auto& partition = topic.partitions.emplace_back();
  partition.partition_index = reader.partition;
  for (const auto& [first, last] : reader.held.ranges) {
    partition.acknowledgement_batches.push_back(
        {.first_offset = first,
         .last_offset = last,
         .acknowledge_types = {accepts ? kAccept : kRelease}});
  }
  for (const auto& value : reader.held.values) {
    loans_.erase(value);  // whatever becomes of the request, it is not held any more
  }
  cluster_.ask<ShareAcknowledgeResponse>(
      reader.node, std::move(request), kClientTimeoutMs,
      [this, &reader, accepts](const Result<ShareAcknowledgeResponse>& answer) {
        const bool is_sound = answer && answer->error_code == ErrorCode::kNone;
        reader.session_epoch = is_sound ? reader.session_epoch + 1 : 0;
        const Held held = std::exchange(reader.held, {});
        if (accepts && only_partition(answer) != nullptr) {
          for (const auto& value : held.values) {
            acked_.try_emplace(value, cluster_.now_ms());
          }
        }
        go_on(reader);
      });
}

bool Sharers::have_all(const std::set<std::string>& committed) const {
  return std::ranges::all_of(committed,
                             [&](const std::string& value) { return given_.contains(value); });
}

std::string Sharers::check(const std::set<std::string>& committed) const {
  if (!wrong_.empty()) {
    return wrong_;
  }
  for (const auto& [value, times] : given_) {
    if (!committed.contains(value)) {
      return "a share group was given " + value + ", which is not committed";
    }
  }
  return have_all(committed) ? "" : "a share group was not given all that is committed";
}

}  // namespace klamm::broker::sim
