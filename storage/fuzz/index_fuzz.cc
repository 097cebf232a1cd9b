// Any bytes as the indexes of a sound log: whatever they say, a reader gets the batch that holds
// the offset that he asked for, or an error.
#include <cstdlib>

#include "protocol/records/builder.h"
#include "storage/env/sim_disk.h"
#include "storage/log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace klamm::storage;
  constexpr int64_t kBatches = 8;
  SimDisk disk;
  {
    auto log = Log::open(disk, "/d/t-0", {.index_interval_bytes = 1}, {});
    for (int64_t i = 0; i < kBatches; ++i) {
      klamm::protocol::BatchBuilder builder({});
      builder.add(i, std::nullopt, std::nullopt);
      (void)(*log)->append_as_leader(builder.build(), 0, i);
    }
    (void)(*log)->close();
  }
  const std::span<const uint8_t> content(data, size);
  const auto put = [&](const char* name, std::span<const uint8_t> bytes) {
    (void)(*disk.open(std::string("/d/t-0/00000000000000000000") + name,
                      OpenMode::kCreateTruncated))
        ->write_at(0, bytes);
  };
  put(".index", content.first(size / 2));
  put(".timeindex", content.subspan(size / 2));
  put(".txnindex", content);
  auto log = Log::open(disk, "/d/t-0", {}, {.clean = true});
  if (!log || (*log)->end_offset() != kBatches) {
    std::abort();
  }
  for (int64_t offset = 0; offset < kBatches; ++offset) {
    int64_t found = offset;
    (void)(*log)->visit(offset, [&](const klamm::protocol::BatchView& batch) {
      found = batch.base_offset();
      return false;
    });
    if (found != offset) {
      std::abort();
    }
    (void)(*log)->find_timestamp(offset);
    (void)(*log)->read_committed(offset, 1000, kBatches, true);
  }
  return 0;
}
