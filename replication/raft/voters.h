#pragma once
// Who votes in the metadata quorum (KIP-595, KIP-853): from `controller.quorum.voters`, or from the
// newest VotersRecord of the log.
#include <map>
#include <string>
#include <vector>

#include "protocol/base/result.h"
#include "protocol/base/uuid.h"
#include "protocol/generated/voters_record.h"
#include "replication/transport.h"

namespace klamm::replication {

using protocol::Uuid;

// A replica of the metadata log. The directory is zero where the quorum is static.
struct ReplicaKey {
  int32_t id = -1;
  Uuid directory;
  auto operator<=>(const ReplicaKey&) const = default;
  // The same replica as far as both say.
  bool matches(const ReplicaKey& other) const {
    return id == other.id &&
           (directory.is_zero() || other.directory.is_zero() || directory == other.directory);
  }
};

struct Voter {
  ReplicaKey key;
  std::vector<std::pair<std::string, Address>> endpoints;  // by listener
  int16_t kraft_version_min = 0;
  int16_t kraft_version_max = 1;
  bool operator==(const Voter&) const = default;
  const Address* address() const { return endpoints.empty() ? nullptr : &endpoints.front().second; }
};

class VoterSet {
 public:
  VoterSet() = default;
  explicit VoterSet(std::vector<Voter> voters);
  // "1@host:port,2@host:port"; INVALID_CONFIG says what is wrong.
  static Result<VoterSet> parse(const std::string& text, const std::string& listener);
  // "1@host:port:directory,...", as for --initial-controllers; INVALID_CONFIG.
  static Result<VoterSet> parse_with_directories(const std::string& text,
                                                 const std::string& listener);
  static VoterSet from_record(const protocol::VotersRecord& record);
  protocol::VotersRecord to_record() const;

  const std::map<int32_t, Voter>& all() const { return voters_; }
  bool empty() const { return voters_.empty(); }
  size_t majority() const { return voters_.size() / 2 + 1; }
  bool contains(const ReplicaKey& key) const;
  bool is_only(const ReplicaKey& key) const { return voters_.size() == 1 && contains(key); }
  const Address* address_of(int32_t id) const;
  // nullptr when this very replica does not vote.
  const Voter* find(const ReplicaKey& key) const;
  // The set with another voter, in the place of the one of its id if there is one.
  VoterSet with(Voter voter) const;
  VoterSet without(int32_t id) const;
  bool operator==(const VoterSet&) const = default;

 private:
  std::map<int32_t, Voter> voters_;
};

}  // namespace klamm::replication
