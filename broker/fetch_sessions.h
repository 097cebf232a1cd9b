#pragma once
// Incremental fetch sessions (KIP-227): a consumer names only the partitions that changed, the
// broker answers only for those that have news.
#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "protocol/base/result.h"
#include "protocol/generated/fetch_request.h"
#include "protocol/generated/fetch_response.h"
#include "storage/env/clock.h"

namespace klamm::broker {

// A partition as a fetch names it: by topic id from version 13 on, else by name.
struct FetchKey {
  std::string topic;
  protocol::Uuid topic_id;
  int32_t partition = 0;
  auto operator<=>(const FetchKey&) const = default;
};

// What a client wants of a partition and what it was last told.
struct FetchItem {
  FetchKey key;
  protocol::FetchRequest::FetchPartition wanted;
  int64_t told_high_watermark = -1;
  int64_t told_start_offset = -1;
};

class FetchSession {
 public:
  int32_t id = 0;
  int32_t epoch = 0;
  std::list<FetchItem> items;  // in the order in which they are served
  std::map<FetchKey, std::list<FetchItem>::iterator> index;

  void put(const FetchKey& key, const protocol::FetchRequest::FetchPartition& wanted);
  void forget(const FetchKey& key);
};

class FetchSessions {
 public:
  explicit FetchSessions(size_t sessions_max) : sessions_max_(sessions_max) {}

  struct Plan {
    // Null for a fetch without a session; its items stand in `loose` then.
    FetchSession* session = nullptr;
    FetchSession loose;
    bool incremental = false;  // leave out partitions without news
  };
  // Finds out what a request wants. FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH. A full
  // cache gives fetches without a session, as the protocol allows.
  Result<Plan> plan(const protocol::FetchRequest& request, storage::Random& random, int64_t now_ms);
  FetchSession* find(int32_t id);
  size_t size() const { return sessions_.size(); }

 private:
  void make_room(int64_t now_ms);
  struct Held {
    FetchSession session;
    int64_t used_ms = 0;
  };
  size_t sessions_max_;
  std::unordered_map<int32_t, Held> sessions_;
};

}  // namespace klamm::broker
