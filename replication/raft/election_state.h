#pragma once
// `quorum-state`: the epoch, its leader and whom this node voted for, as Kafka writes it. Data
// version 0 goes with a static quorum, 1 with a dynamic one.
#include <string>

#include "replication/raft/voters.h"
#include "storage/env/disk.h"

namespace klamm::replication {

struct ElectionState {
  int32_t epoch = 0;
  int32_t leader = -1;
  ReplicaKey voted;  // id -1: nobody
  bool operator==(const ElectionState&) const = default;
};

class ElectionFile {
 public:
  ElectionFile(storage::Disk& disk, std::string folder)
      : disk_(disk), path_(std::move(folder) + "/quorum-state") {}
  // The initial state when there is no file; KAFKA_STORAGE_ERROR when it cannot be read.
  Result<ElectionState> load();
  // On the medium when it returns.
  Result<> save(const ElectionState& state, const VoterSet& voters, int16_t kraft_version);

 private:
  storage::Disk& disk_;
  std::string path_;
};

}  // namespace klamm::replication
