#pragma once
// The share sessions of the clients of one shard (KIP-932): which partitions a member of a share
// group fetches, and the epoch that puts its requests in order. A session lives as long as the
// connection that opened it.
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/handlers/reply.h"
#include "protocol/base/result.h"
#include "protocol/base/uuid.h"

namespace klamm::broker {

using protocol::Uuid;

constexpr int32_t kInitialShareEpoch = 0;
constexpr int32_t kFinalShareEpoch = -1;

class ShareSessions {
 public:
  using Place = std::pair<Uuid, int32_t>;
  using Owner = std::pair<std::string, std::string>;  // group, member
  struct Session {
    int32_t epoch = 1;  // that the next request has
    std::list<Place> places;
    std::weak_ptr<ReplySink> connection;
  };

  explicit ShareSessions(size_t sessions_max) : sessions_max_(sessions_max) {}

  // Takes a fetch's epoch, and the places that it adds and forgets. INVALID_SHARE_SESSION_EPOCH,
  // SHARE_SESSION_NOT_FOUND, SHARE_SESSION_LIMIT_REACHED.
  Result<Session*> fetch(const Owner& owner, int32_t epoch, const std::vector<Place>& added,
                         const std::vector<Place>& forgotten,
                         const std::weak_ptr<ReplySink>& connection);
  // Takes the epoch of an acknowledgement.
  Result<Session*> acknowledge(const Owner& owner, int32_t epoch);
  // Ends a session; its places.
  std::list<Place> close(const Owner& owner);
  bool is_empty() const { return sessions_.empty(); }
  // Those whose connections are gone.
  std::vector<Owner> orphans() const;

 private:
  Result<Session*> next(const Owner& owner, int32_t epoch);

  size_t sessions_max_;
  std::map<Owner, Session> sessions_;
};

}  // namespace klamm::broker
