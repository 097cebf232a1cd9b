// Any bytes as a segment, an index and a snapshot: recovery is total, and the log can be appended
// to afterwards.
#include <cstdlib>

#include "protocol/records/builder.h"
#include "storage/env/sim_disk.h"
#include "storage/log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace klamm::storage;
  SimDisk disk;
  const std::span<const uint8_t> content(data, size);
  const size_t cut = size / 2;
  const auto put = [&](const char* name, std::span<const uint8_t> bytes) {
    (void)(*disk.open(std::string("/d/t-0/") + name, OpenMode::kCreate))->write_at(0, bytes);
  };
  put("00000000000000000000.log", content.subspan(cut));
  put("00000000000000000000.index", content.first(cut));
  put("00000000000000000000.timeindex", content.first(cut));
  put("00000000000000000000.snapshot", content.first(cut));
  for (const bool clean : {true, false}) {
    auto log = Log::open(disk, "/d/t-0", {}, {.clean = clean});
    if (!log) {
      continue;
    }
    klamm::protocol::BatchBuilder builder({});
    builder.add(1, std::nullopt, std::nullopt);
    (void)(*log)->find_timestamp(0);
    if (!clean && !(*log)->append_as_leader(builder.build(), 0, 1)) {
      std::abort();
    }
  }
  return 0;
}
