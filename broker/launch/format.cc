#include "broker/launch/format.h"

#include <fmt/core.h>

#include "replication/raft/quorum.h"
#include "storage/log_dir.h"

namespace klamm::broker {

using replication::Voter;
using replication::VoterSet;
using storage::LogDir;

namespace {

// The first one holds the metadata log.
std::vector<std::string> directories_of(const BrokerConfig& config) {
  auto paths = config.log_dirs();
  if (const std::string* const metadata = config.find("metadata.log.dir");
      metadata != nullptr && !metadata->empty()) {
    std::erase(paths, *metadata);
    paths.insert(paths.begin(), *metadata);
  }
  return paths;
}

Result<> check(const BrokerConfig& config, const FormatWish& wish) {
  if (!protocol::Uuid::parse(wish.cluster_id)) {
    return fail(ErrorCode::kInvalidConfig, "--cluster-id wants 22 characters of base64url, not '" +
                                               wish.cluster_id +
                                               "'; `klamm random-uuid` makes one");
  }
  if (wish.standalone && !wish.initial_controllers.empty()) {
    return fail(ErrorCode::kInvalidConfig,
                "--standalone and --initial-controllers exclude each other");
  }
  const bool is_dynamic = wish.standalone || !wish.initial_controllers.empty();
  if (is_dynamic && !config.get("controller.quorum.voters").empty()) {
    return fail(ErrorCode::kInvalidConfig,
                "controller.quorum.voters makes the quorum static; take it out of the "
                "configuration to put the voters into the log");
  }
  if (is_dynamic && !config.is_controller()) {
    return fail(ErrorCode::kInvalidConfig, "process.roles names no controller role on this node");
  }
  return {};
}

Result<VoterSet> voters_of(const BrokerConfig& config, const FormatWish& wish,
                           const protocol::Uuid& directory) {
  const auto& listeners = config.controller_advertised();
  if (!wish.initial_controllers.empty()) {
    return VoterSet::parse_with_directories(
        wish.initial_controllers, listeners.empty() ? "CONTROLLER" : listeners.front().name);
  }
  if (!wish.standalone) {
    return VoterSet();
  }
  Voter self{.key = {config.node_id(), directory}};
  for (const Endpoint& endpoint : listeners) {
    self.endpoints.push_back({endpoint.name, {endpoint.host, endpoint.port}});
  }
  return VoterSet({std::move(self)});
}

// The directory's id in the list of voters goes into its meta.properties.
std::optional<protocol::Uuid> wanted_directory(const BrokerConfig& config, const VoterSet& voters) {
  const auto self = voters.all().find(config.node_id());
  return self == voters.all().end() ? std::nullopt : std::optional(self->second.key.directory);
}

}  // namespace

Result<> format(storage::Disk& disk, const storage::Clock& clock, storage::Random& random,
                const BrokerConfig& config, const FormatWish& wish) {
  TRY_VOID(check(config, wish));
  const auto paths = directories_of(config);
  for (const std::string& path : paths) {
    if (!disk.exists(path + "/meta.properties")) {
      continue;
    }
    if (!wish.ignore_formatted) {
      return fail(ErrorCode::kInvalidConfig,
                  "Log directory " + path +
                      " is already formatted. Use --ignore-formatted to leave such directories "
                      "alone and format the others.");
    }
    fmt::print("{} is already formatted\n", path);
  }
  TRY(const VoterSet named, voters_of(config, wish, {}));
  for (size_t i = 0; i < paths.size(); ++i) {
    if (disk.exists(paths[i] + "/meta.properties")) {
      continue;
    }
    storage::LogDirIdentity identity{wish.cluster_id, config.node_id()};
    identity.directory_id =
        i == 0 && !wish.standalone ? wanted_directory(config, named) : std::nullopt;
    TRY(const auto dir, LogDir::open(disk, random, paths[i], identity));
    if (i == 0) {
      TRY(const VoterSet voters, voters_of(config, wish, dir->directory_id()));
      TRY_VOID(replication::Quorum::format(disk, clock,
                                           {.folder = paths[i] + "/__cluster_metadata-0"}, voters));
      fmt::print("Formatting metadata directory {} with metadata.version 4.4-IV2.\n", paths[i]);
    } else {
      fmt::print("Formatting data directory {} with metadata.version 4.4-IV2.\n", paths[i]);
    }
  }
  return {};
}

}  // namespace klamm::broker
