// A produced batch: validation is total, and what it lets through can be read record by record.
#include <cstdlib>

#include "protocol/base/crc32c.h"
#include "protocol/base/endian.h"
#include "protocol/records/validate.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace klamm::protocol;
  Bytes batch = Bytes::copy_of({data, size});
  if (size >= kBatchHeaderSize) {  // a wrong checksum would end every run at once
    store(batch.mutable_data() + 8, static_cast<int32_t>(size - kBatchPrefixSize));
    store(batch.mutable_data() + 17, crc32c(batch.span().subspan(21)));
  }
  const auto checked =
      validate_produced(batch, {.now_ms = 1'800'000'000'000, .decompressed_max = 1 << 20});
  if (!checked) {
    return 0;
  }
  const auto view = BatchView::parse(checked->span());
  if (view->compression() != Compression::kNone) {
    return 0;
  }
  RecordIterator records(view->body(), view->count());
  for (int32_t i = 0; i < view->count(); ++i) {
    const auto record = records.next();
    if (!record || !*record) {
      std::abort();
    }
  }
  return 0;
}
