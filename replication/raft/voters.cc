#include "replication/raft/voters.h"

#include <charconv>

namespace klamm::replication {

VoterSet::VoterSet(std::vector<Voter> voters) {
  for (Voter& voter : voters) {
    const int32_t id = voter.key.id;
    voters_[id] = std::move(voter);
  }
}

Result<VoterSet> VoterSet::parse(const std::string& text, const std::string& listener) {
  std::vector<Voter> voters;
  for (size_t at = 0; at < text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, comma - at);
    at = comma + 1;
    const size_t sign = part.find('@');
    const size_t colon = part.rfind(':');
    Voter voter;
    Address address;
    const char* const end = part.data() + part.size();
    if (sign == std::string::npos || colon == std::string::npos || colon < sign ||
        std::from_chars(part.data(), part.data() + sign, voter.key.id).ptr != part.data() + sign ||
        std::from_chars(part.data() + colon + 1, end, address.port).ptr != end ||
        voter.key.id < 0) {
      return fail(ErrorCode::kInvalidConfig, "controller.quorum.voters has the entry '" + part +
                                                 "'; write id@host:port, separated by commas");
    }
    address.host = part.substr(sign + 1, colon - sign - 1);
    if (address.host.starts_with('[') && address.host.ends_with(']')) {
      address.host = address.host.substr(1, address.host.size() - 2);
    }
    voter.endpoints.emplace_back(listener, std::move(address));
    voters.push_back(std::move(voter));
  }
  return VoterSet(std::move(voters));
}

Result<VoterSet> VoterSet::parse_with_directories(const std::string& text,
                                                  const std::string& listener) {
  VoterSet set;
  for (size_t at = 0; at < text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, comma - at);
    at = comma + 1;
    const size_t colon = std::min(part.rfind(':'), part.size());
    const auto directory =
        Uuid::parse(std::string_view(part).substr(std::min(colon + 1, part.size())));
    const auto one = parse(part.substr(0, colon), listener);
    if (!one || !directory || one->all().size() != 1) {
      return fail(ErrorCode::kInvalidConfig, "'" + part +
                                                 "' is no controller with a directory; write " +
                                                 "id@host:port:directory, separated by commas");
    }
    Voter voter = one->all().begin()->second;
    voter.key.directory = *directory;
    if (set.voters_.contains(voter.key.id)) {
      return fail(ErrorCode::kInvalidConfig,
                  "controller " + std::to_string(voter.key.id) + " is named twice");
    }
    set = set.with(std::move(voter));
  }
  return set;
}

VoterSet VoterSet::from_record(const protocol::VotersRecord& record) {
  std::vector<Voter> voters;
  for (const auto& entry : record.voters) {
    Voter voter{.key = {entry.voter_id, entry.voter_directory_id},
                .kraft_version_min = entry.k_raft_version_feature.min_supported_version,
                .kraft_version_max = entry.k_raft_version_feature.max_supported_version};
    for (const auto& endpoint : entry.endpoints) {
      voter.endpoints.push_back({endpoint.name, {endpoint.host, endpoint.port}});
    }
    voters.push_back(std::move(voter));
  }
  return VoterSet(std::move(voters));
}

protocol::VotersRecord VoterSet::to_record() const {
  protocol::VotersRecord record;
  for (const auto& [id, voter] : voters_) {
    auto& entry = record.voters.emplace_back();
    entry.voter_id = id;
    entry.voter_directory_id = voter.key.directory;
    entry.k_raft_version_feature.min_supported_version = voter.kraft_version_min;
    entry.k_raft_version_feature.max_supported_version = voter.kraft_version_max;
    for (const auto& [name, address] : voter.endpoints) {
      entry.endpoints.push_back({.name = name, .host = address.host, .port = address.port});
    }
  }
  return record;
}

bool VoterSet::contains(const ReplicaKey& key) const {
  const auto found = voters_.find(key.id);
  return found != voters_.end() && found->second.key.matches(key);
}

const Address* VoterSet::address_of(int32_t id) const {
  const auto found = voters_.find(id);
  return found == voters_.end() ? nullptr : found->second.address();
}

const Voter* VoterSet::find(const ReplicaKey& key) const {
  const auto found = voters_.find(key.id);
  return found == voters_.end() || found->second.key != key ? nullptr : &found->second;
}

VoterSet VoterSet::with(Voter voter) const {
  VoterSet set = *this;
  const int32_t id = voter.key.id;
  set.voters_[id] = std::move(voter);
  return set;
}

VoterSet VoterSet::without(int32_t id) const {
  VoterSet set = *this;
  set.voters_.erase(id);
  return set;
}

}  // namespace klamm::replication
