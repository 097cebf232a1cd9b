#include "broker/share/share_sessions.h"

#include <algorithm>

namespace klamm::broker {

Result<ShareSessions::Session*> ShareSessions::next(const Owner& owner, int32_t epoch) {
  const auto found = sessions_.find(owner);
  if (found == sessions_.end()) {
    return fail(ErrorCode::kShareSessionNotFound, "The member has no session here.");
  }
  Session& session = found->second;
  if (epoch == kFinalShareEpoch) {
    return &session;
  }
  if (session.epoch != epoch) {
    return fail(ErrorCode::kInvalidShareSessionEpoch,
                "The session is at epoch " + std::to_string(session.epoch) + ".");
  }
  session.epoch = session.epoch == INT32_MAX ? 1 : session.epoch + 1;
  return &session;
}

Result<ShareSessions::Session*> ShareSessions::fetch(const Owner& owner, int32_t epoch,
                                                     const std::vector<Place>& added,
                                                     const std::vector<Place>& forgotten,
                                                     const std::weak_ptr<ReplySink>& connection) {
  Session* session = nullptr;
  if (epoch == kInitialShareEpoch) {
    if (!sessions_.contains(owner) && sessions_.size() >= sessions_max_) {
      return fail(ErrorCode::kShareSessionLimitReached, "There are too many share sessions.");
    }
    session = &sessions_[owner];
    *session = {};
    session->connection = connection;
  } else {
    TRY(session, next(owner, epoch));
  }
  for (const Place& place : added) {
    if (std::ranges::find(session->places, place) == session->places.end()) {
      session->places.push_back(place);
    }
  }
  for (const Place& place : forgotten) {
    std::erase(session->places, place);
  }
  return session;
}

Result<ShareSessions::Session*> ShareSessions::acknowledge(const Owner& owner, int32_t epoch) {
  if (epoch == kInitialShareEpoch) {
    return fail(ErrorCode::kInvalidShareSessionEpoch,
                "Nothing can be acknowledged before a fetch.");
  }
  return next(owner, epoch);
}

std::list<ShareSessions::Place> ShareSessions::close(const Owner& owner) {
  auto node = sessions_.extract(owner);
  return node.empty() ? std::list<Place>() : std::move(node.mapped().places);
}

std::vector<ShareSessions::Owner> ShareSessions::orphans() const {
  std::vector<Owner> orphans;
  for (const auto& [owner, session] : sessions_) {
    if (session.connection.expired()) {
      orphans.push_back(owner);
    }
  }
  return orphans;
}

}  // namespace klamm::broker
