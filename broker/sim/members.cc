#include "broker/sim/members.h"

#include <algorithm>

#include "broker/sim/clients.h"
#include "protocol/generated/offset_commit_request.h"
#include "protocol/generated/offset_commit_response.h"
#include "protocol/generated/offset_fetch_request.h"
#include "protocol/generated/offset_fetch_response.h"

namespace klamm::broker::sim {

using namespace protocol;

namespace {

constexpr const char* kOffsetsTopic = "__consumer_offsets";  // of one partition here
constexpr int8_t kGroupKey = 0;
constexpr int64_t kPauseMs = 400;
constexpr int32_t kLeaveEpoch = -1;

}  // namespace

Members::Members(SimCluster& cluster, Membership membership, std::string topic, int32_t partitions,
                 size_t count)
    : cluster_(cluster),
      membership_(std::move(membership)),
      topic_(std::move(topic)),
      places_(static_cast<size_t>(partitions)),
      members_(count) {}

void Members::start(const Uuid& topic_id) {
  topic_id_ = topic_id;
  for (size_t seat = 0; seat < members_.size(); ++seat) {
    begin_life(seat);
  }
}

bool Members::is_idle() const {
  return std::ranges::none_of(members_, [](const auto& member) { return member->busy; });
}

bool Members::have_all() const {
  return std::ranges::all_of(
      places_, [](const Place& place) { return place.owner != nullptr && !place.owner->is_dead; });
}

bool Members::is_coordinator(size_t node) {
  const Leader leader = newest_leader(cluster_, kOffsetsTopic, 0);
  return leader.epoch >= 0 && leader.node == node;
}

void Members::begin_life(size_t seat) {
  members_[seat] = std::make_shared<Member>();
  members_[seat]->id = "m" + std::to_string(++lives_);
  go_on(members_[seat]);
}

void Members::go_on(const std::shared_ptr<Member>& member) {
  member->busy = !stopping_ && !member->is_dead;
  if (!member->busy) {
    return;
  }
  if (chance(60) == 0) {  // a process that is killed: its session has to run out
    member->is_dead = true;
  }
  if (member->is_dead) {
    const auto seat = std::ranges::find(members_, member) - members_.begin();
    return begin_life(static_cast<size_t>(seat));
  }
  cluster_.after(static_cast<int64_t>(chance(kPauseMs)), [this, member] {
    find_coordinator(cluster_, kGroupKey, membership_.group,
                     [this, member](size_t node) { act(member, node); });
  });
}

void Members::act(const std::shared_ptr<Member>& member, size_t node) {
  const uint64_t what = member->epoch == 0 || member->owned.empty() ? 0 : chance(16);
  what < 8    ? heartbeat(member, node)
  : what < 12 ? commit(member, node)
  : what < 15 ? read(member, node)
              : leave(member, node);
}

void Members::heartbeat(const std::shared_ptr<Member>& member, size_t node) {
  Said said{member->id, member->epoch, {}};
  for (const auto& [partition, tenure] : member->owned) {
    said.owned.insert(partition);
  }
  const bool asks_it = is_coordinator(node);
  membership_.heartbeat(
      cluster_, node, said, topic_, topic_id_,
      [this, member, node, asks_it, asked_ms = cluster_.now_ms()](const Result<Told>& told) {
        if (told && asks_it && is_coordinator(node)) {
          take(member, *told, asked_ms);
        }
        go_on(member);
      });
}

void Members::take(const std::shared_ptr<Member>& member, const Told& told, int64_t asked_ms) {
  switch (told.error) {
    case ErrorCode::kNone: break;
    case ErrorCode::kFencedMemberEpoch:
    case ErrorCode::kUnknownMemberId:
    case ErrorCode::kGroupIdNotFound: return give_up(*member);
    case ErrorCode::kNotCoordinator:
    case ErrorCode::kCoordinatorNotAvailable:
    case ErrorCode::kCoordinatorLoadInProgress: return;
    default:
      return say("a member of group " + membership_.group + " was told " +
                 std::string(name_of(told.error)));
  }
  member->epoch = told.epoch;
  member->session_end_ms = asked_ms + kSessionMs;
  if (told.assigned) {
    assign(member, *told.assigned);
  }
}

void Members::assign(const std::shared_ptr<Member>& member, const std::set<int32_t>& partitions) {
  for (auto it = member->owned.begin(); it != member->owned.end();) {
    Place& place = places_.at(static_cast<size_t>(it->first));
    if (partitions.contains(it->first)) {
      ++it;
      continue;
    }
    if (place.tenure == it->second) {
      place.owner = nullptr;
    }
    it = member->owned.erase(it);
  }
  for (const int32_t partition : partitions) {
    if (!member->owned.contains(partition)) {
      own(member, partition);
    }
  }
}

void Members::own(const std::shared_ptr<Member>& member, int32_t partition) {
  Place& place = places_.at(static_cast<size_t>(partition));
  if (place.owner != nullptr && cluster_.now_ms() < place.owner->session_end_ms) {
    say("group " + membership_.group + ": partition " + std::to_string(partition) +
        " was given to " + member->id + ", and " + place.owner->id + " has it for " +
        std::to_string(place.owner->session_end_ms - cluster_.now_ms()) + " ms more");
  }
  place.owner = member;
  place.tenure = ++tenures_;
  place.since_ms = cluster_.now_ms();
  member->owned[partition] = place.tenure;
}

void Members::give_up(Member& member) {
  for (const auto& [partition, tenure] : member.owned) {
    Place& place = places_.at(static_cast<size_t>(partition));
    if (place.tenure == tenure) {
      place.owner = nullptr;
    }
  }
  member.owned.clear();
  member.epoch = 0;
}

void Members::leave(const std::shared_ptr<Member>& member, size_t node) {
  give_up(*member);  // it stops reading before it says so
  membership_.heartbeat(
      cluster_, node, {member->id, kLeaveEpoch, {}}, topic_, topic_id_,
      [this, member](const Result<Told>&) {
        member->is_dead = true;
        member->busy = false;
        if (!stopping_) {
          begin_life(static_cast<size_t>(std::ranges::find(members_, member) - members_.begin()));
        }
      });
}

void Members::commit(const std::shared_ptr<Member>& member, size_t node) {
  const auto [partition, tenure] =
      *std::next(member->owned.begin(), static_cast<ptrdiff_t>(chance(member->owned.size())));
  Place& place = places_.at(static_cast<size_t>(partition));
  const int64_t offset = ++place.tried;
  OffsetCommitRequest request;
  request.group_id = membership_.group;
  request.member_id = member->id;
  request.generation_id_or_member_epoch = member->epoch;
  request.topics = {{.topic_id = topic_id_,
                     .partitions = {{.partition_index = partition, .committed_offset = offset}}}};
  cluster_.ask<OffsetCommitResponse>(
      node, std::move(request), kClientTimeoutMs,
      [this, member, &place, partition, tenure, offset,
       asked_ms = cluster_.now_ms()](const Result<OffsetCommitResponse>& answer) {
        if (!answer) {
          if (place.tenure == tenure) {
            place.unsure[offset] = tenure;
          }
        } else if (answer->topics.at(0).partitions.at(0).error_code == ErrorCode::kNone) {
          note_commit(partition, tenure, offset, asked_ms);
        }
        go_on(member);
      });
}

void Members::note_commit(int32_t partition, uint64_t tenure, int64_t offset, int64_t asked_ms) {
  Place& place = places_.at(static_cast<size_t>(partition));
  ++commits_;
  if (place.tenure != tenure && place.since_ms <= asked_ms) {
    say("group " + membership_.group + ": a commit to partition " + std::to_string(partition) +
        " was taken from one who had lost it");
  }
  place.committed = std::max(place.committed, offset);
  std::erase_if(place.unsure, [&](const auto& entry) { return entry.second < tenure; });
}

void Members::read(const std::shared_ptr<Member>& member, size_t node) {
  OffsetFetchRequest request;
  request.groups = {{.group_id = membership_.group}};
  request.groups[0].topics.emplace();
  auto& topic = request.groups[0].topics->emplace_back();
  topic.topic_id = topic_id_;
  std::vector<int64_t> committed;
  for (size_t i = 0; i < places_.size(); ++i) {
    topic.partition_indexes.push_back(static_cast<int32_t>(i));
    committed.push_back(places_[i].committed);
  }
  const bool asks_it = is_coordinator(node);
  cluster_.ask<OffsetFetchResponse>(
      node, std::move(request), kClientTimeoutMs,
      [this, member, node, asks_it,
       committed = std::move(committed)](const Result<OffsetFetchResponse>& answer) {
        const bool is_sound = answer && asks_it && is_coordinator(node) &&
                              answer->groups.at(0).error_code == ErrorCode::kNone;
        for (size_t i = 0; is_sound && i < places_.size(); ++i) {
          const int64_t found = std::max<int64_t>(
              answer->groups[0].topics.at(0).partitions.at(i).committed_offset, 0);
          if (found > places_[i].tried ||
              (found < committed[i] && !places_[i].unsure.contains(found))) {
            say("group " + membership_.group + ": partition " + std::to_string(i) + ": offset " +
                std::to_string(committed[i]) + " was committed, then " + std::to_string(found) +
                " was told");
          }
        }
        go_on(member);
      });
}

}  // namespace klamm::broker::sim
