#pragma once
// The codecs of record batches: gzip, snappy (in the xerial framing that Kafka's clients use; bare
// blocks are read too), lz4 frames and zstd.
#include <cstdint>
#include <functional>
#include <span>

#include "protocol/base/bytes.h"
#include "protocol/records/batch.h"

namespace klamm::protocol {

// Receives the content piece by piece; an error ends the work and is what decompress returns.
using Sink = std::function<Result<>(std::span<const uint8_t>)>;

// Feeds the content of `in` to `sink` in pieces of bounded size. UNKNOWN_SERVER_ERROR when `in` is
// not a complete stream of the codec; RECORD_LIST_TOO_LARGE once more than `out_max` bytes come
// out.
Result<> decompress(Compression codec, std::span<const uint8_t> in, uint64_t out_max,
                    const Sink& sink);

// The same into one buffer.
Result<Bytes> decompress(Compression codec, std::span<const uint8_t> in, uint64_t out_max);

// level INT32_MIN is the codec's default. Not for Compression::kNone.
Bytes compress(Compression codec, std::span<const uint8_t> in, int level);

}  // namespace klamm::protocol
