#include "replication/raft/election_state.h"

#include <nlohmann/json.hpp>

namespace klamm::replication {

using nlohmann::ordered_json;

Result<ElectionState> ElectionFile::load() {
  if (!disk_.exists(path_)) {
    return ElectionState{};
  }
  TRY(const std::string text, disk_.read_file(path_));
  const auto json = ordered_json::parse(text, nullptr, false);
  const auto number = [&json](const char* name) {
    const auto found = json.find(name);
    return found != json.end() && found->is_number_integer() ? found->get<int32_t>() : -1;
  };
  if (!json.is_object() || number("leaderEpoch") < 0) {
    return fail(ErrorCode::kKafkaStorageError, path_ + " is not the state of a quorum");
  }
  ElectionState state{.epoch = number("leaderEpoch"), .leader = number("leaderId")};
  state.voted.id = number("votedId");
  if (const auto found = json.find("votedDirectoryId"); found != json.end() && found->is_string()) {
    state.voted.directory = Uuid::parse(found->get<std::string>()).value_or(Uuid{});
  }
  return state;
}

Result<> ElectionFile::save(const ElectionState& state, const VoterSet& voters,
                            int16_t kraft_version) {
  ordered_json json;
  if (kraft_version == 0) {
    json["clusterId"] = "";
  }
  json["leaderId"] = state.leader;
  json["leaderEpoch"] = state.epoch;
  json["votedId"] = state.voted.id;
  if (kraft_version == 0) {
    json["appliedOffset"] = 0;
    auto& list = json["currentVoters"] = ordered_json::array();
    for (const auto& [id, voter] : voters.all()) {
      list.push_back({{"voterId", id}});
    }
  } else {
    json["votedDirectoryId"] = state.voted.directory.to_string();
  }
  json["data_version"] = kraft_version == 0 ? 0 : 1;
  return disk_.replace_file(path_, json.dump());
}

}  // namespace klamm::replication
