#include "broker/fetch_sessions.h"

#include <algorithm>

namespace klamm::broker {

using protocol::FetchRequest;

namespace {

constexpr int32_t kFinalEpoch = -1;
constexpr int32_t kInitialEpoch = 0;
constexpr int64_t kIdleMs = 120'000;

void take_partitions(FetchSession& session, const FetchRequest& request) {
  for (const auto& topic : request.topics) {
    for (const auto& partition : topic.partitions) {
      session.put({topic.topic, topic.topic_id, partition.partition}, partition);
    }
  }
}

}  // namespace

void FetchSession::put(const FetchKey& key, const FetchRequest::FetchPartition& wanted) {
  if (const auto known = index.find(key); known != index.end()) {
    known->second->wanted = wanted;
    return;
  }
  index[key] = items.insert(items.end(), FetchItem{key, wanted});
}

void FetchSession::forget(const FetchKey& key) {
  if (const auto known = index.find(key); known != index.end()) {
    items.erase(known->second);
    index.erase(known);
  }
}

FetchSession* FetchSessions::find(int32_t id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : &found->second.session;
}

// Sessions that have not been used for a while give way to new ones.
void FetchSessions::make_room(int64_t now_ms) {
  if (sessions_.size() < sessions_max_) {
    return;
  }
  const auto oldest = std::min_element(
      sessions_.begin(), sessions_.end(),
      [](const auto& a, const auto& b) { return a.second.used_ms < b.second.used_ms; });
  if (oldest != sessions_.end() && now_ms - oldest->second.used_ms > kIdleMs) {
    sessions_.erase(oldest);
  }
}

Result<FetchSessions::Plan> FetchSessions::plan(const FetchRequest& request,
                                                storage::Random& random, int64_t now_ms) {
  Plan plan;
  const bool starts_over =
      request.session_epoch == kInitialEpoch || request.session_epoch == kFinalEpoch;
  if (starts_over) {
    if (request.session_id != 0) {
      sessions_.erase(request.session_id);
    }
    if (request.session_epoch == kInitialEpoch) {
      make_room(now_ms);
      if (sessions_.size() < sessions_max_ && !request.topics.empty()) {
        int32_t id = 0;
        while (id == 0 || sessions_.contains(id)) {
          id = static_cast<int32_t>(random.next() & INT32_MAX);
        }
        Held& held = sessions_[id];
        held.used_ms = now_ms;
        held.session.id = id;
        held.session.epoch = 1;
        take_partitions(held.session, request);
        plan.session = &held.session;
        return plan;
      }
    }
    take_partitions(plan.loose, request);
    return plan;
  }
  const auto found = sessions_.find(request.session_id);
  if (found == sessions_.end()) {
    return fail(ErrorCode::kFetchSessionIdNotFound, "there is no such fetch session");
  }
  FetchSession& session = found->second.session;
  if (session.epoch != request.session_epoch) {
    return fail(ErrorCode::kInvalidFetchSessionEpoch, "the fetch session is at another epoch");
  }
  found->second.used_ms = now_ms;
  session.epoch = session.epoch == INT32_MAX ? 1 : session.epoch + 1;
  take_partitions(session, request);
  for (const auto& topic : request.forgotten_topics_data) {
    for (const int32_t partition : topic.partitions) {
      session.forget({topic.topic, topic.topic_id, partition});
    }
  }
  plan.session = &session;
  plan.incremental = true;
  return plan;
}

}  // namespace klamm::broker
