#pragma once
// Batches and logs for the tests of this folder.
#include <string>

#include "protocol/records/builder.h"
#include "storage/env/sim_disk.h"
#include "storage/log.h"

namespace klamm::storage {

inline std::span<const uint8_t> span_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A batch of `count` records of about `size` bytes each.
inline protocol::Bytes make_batch(int count, int64_t timestamp, size_t size = 100,
                                  protocol::BatchOptions options = {}) {
  protocol::BatchBuilder builder(options);
  const std::string value(size, 'v');
  for (int i = 0; i < count; ++i) {
    builder.add(timestamp + i, std::nullopt, span_of(value));
  }
  return builder.build();
}

// Everything from `offset` on, as bytes.
inline std::string read_all(Log& log, int64_t offset) {
  std::string content;
  while (offset < log.end_offset()) {
    const auto payload = log.read(offset, 1 << 30, INT64_MAX, true);
    if (!payload || payload->size() == 0) {
      break;
    }
    for (const auto& piece : payload->pieces()) {
      std::string part(piece.size, '\0');
      (void)piece.source->read_at(piece.position,
                                  {reinterpret_cast<uint8_t*>(part.data()), part.size()});
      std::span<const uint8_t> left = span_of(part);
      while (!left.empty()) {
        const auto batch = protocol::BatchView::parse(left);
        offset = batch->next_offset();
        left = left.subspan(batch->size());
      }
      content += part;
    }
  }
  return content;
}

}  // namespace klamm::storage
