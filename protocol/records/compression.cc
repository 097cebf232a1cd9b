#include "protocol/records/compression.h"

#include <lz4frame.h>
#include <lz4hc.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <array>
#include <memory>
#include <vector>

#include "protocol/base/check.h"

namespace klamm::protocol {
namespace {

constexpr size_t kPieceSize = 64 * 1024;
constexpr size_t kSnappyBlockSize = 32 * 1024;
constexpr std::array<uint8_t, 16> kXerialHeader = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0,
                                                   0,    0,   0,   1,   0,   0,   0,   1};

// Not CORRUPT_MESSAGE, which tells a client to send the same again.
std::unexpected<Error> corrupt(const char* why) {
  return fail(ErrorCode::kUnknownServerError, why);
}

// Counts what comes out and passes it on.
class CappedSink {
 public:
  CappedSink(const Sink& sink, uint64_t left) : sink_(sink), left_(left) {}
  Result<> put(std::span<const uint8_t> piece) {
    if (piece.size() > left_) {
      return fail(ErrorCode::kRecordListTooLarge, "the decompressed batch exceeds the limit");
    }
    left_ -= piece.size();
    return sink_(piece);
  }
  uint64_t left() const { return left_; }

 private:
  const Sink& sink_;
  uint64_t left_;
};

Result<> gunzip(std::span<const uint8_t> in, CappedSink& sink) {
  z_stream stream{};
  CHECK_INVARIANT(inflateInit2(&stream, 15 + 16) == Z_OK);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  stream.next_in = const_cast<uint8_t*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  std::vector<uint8_t> out(kPieceSize);
  while (true) {
    stream.next_out = out.data();
    stream.avail_out = kPieceSize;
    const int status = inflate(&stream, Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END) {
      return corrupt("the gzip stream is damaged or cut off");
    }
    TRY_VOID(sink.put({out.data(), kPieceSize - stream.avail_out}));
    if (status == Z_STREAM_END) {
      return {};
    }
  }
}

Result<> unsnappy_block(std::span<const uint8_t> in, CappedSink& sink) {
  const auto* data = reinterpret_cast<const char*>(in.data());
  size_t size = 0;
  if (!snappy::GetUncompressedLength(data, in.size(), &size)) {
    return corrupt("a snappy block is damaged");
  }
  if (size > sink.left()) {
    return fail(ErrorCode::kRecordListTooLarge, "the decompressed batch exceeds the limit");
  }
  // No snappy element makes more than 64 bytes of 3; a larger claim is a lie, refused before memory
  // is taken.
  if (size / 32 > in.size() + 1) {
    return corrupt("a snappy block claims more than it can hold");
  }
  std::vector<uint8_t> out(size);
  if (!snappy::RawUncompress(data, in.size(), reinterpret_cast<char*>(out.data()))) {
    return corrupt("a snappy block is damaged");
  }
  return sink.put(out);
}

Result<> unsnappy(std::span<const uint8_t> in, CappedSink& sink) {
  if (in.size() < kXerialHeader.size() ||
      !std::equal(in.begin(), in.begin() + 8, kXerialHeader.begin())) {
    return unsnappy_block(in, sink);
  }
  in = in.subspan(kXerialHeader.size());
  while (!in.empty()) {
    if (in.size() < 4) {
      return corrupt("the snappy stream is cut off");
    }
    const auto size = load<int32_t>(in.data());
    in = in.subspan(4);
    if (size < 0 || static_cast<size_t>(size) > in.size()) {
      return corrupt("the snappy stream is cut off");
    }
    TRY_VOID(unsnappy_block(in.first(static_cast<size_t>(size)), sink));
    in = in.subspan(static_cast<size_t>(size));
  }
  return {};
}

// Java's clients read independent blocks only, and Kafka lets in nothing that they cannot read.
bool has_dependent_blocks(std::span<const uint8_t> frame) {
  constexpr size_t kFlagsAt = 4;
  constexpr uint8_t kIndependent = 0x20;
  return frame.size() > kFlagsAt && (frame[kFlagsAt] & kIndependent) == 0;
}

Result<> unlz4(std::span<const uint8_t> in, CappedSink& sink) {
  if (has_dependent_blocks(in)) {
    return corrupt("the lz4 frame is made of blocks that depend on each other");
  }
  LZ4F_dctx* context = nullptr;
  CHECK_INVARIANT(!LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)));
  const std::unique_ptr<LZ4F_dctx, LZ4F_errorCode_t (*)(LZ4F_dctx*)> guard(
      context, LZ4F_freeDecompressionContext);
  std::vector<uint8_t> out(kPieceSize);
  size_t hint = 1;
  while (hint != 0) {
    size_t out_size = out.size();
    size_t in_size = in.size();
    hint = LZ4F_decompress(context, out.data(), &out_size, in.data(), &in_size, nullptr);
    if (LZ4F_isError(hint) || (in_size == 0 && out_size == 0 && hint != 0)) {
      return corrupt("the lz4 frame is damaged or cut off");
    }
    TRY_VOID(sink.put({out.data(), out_size}));
    in = in.subspan(in_size);
  }
  return {};
}

Result<> unzstd(std::span<const uint8_t> in, CappedSink& sink) {
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                   ZSTD_freeDCtx);
  CHECK_INVARIANT(context != nullptr);
  std::vector<uint8_t> out(kPieceSize);
  ZSTD_inBuffer input{in.data(), in.size(), 0};
  size_t status = 1;
  while (status != 0) {
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    const size_t before = input.pos;
    status = ZSTD_decompressStream(context.get(), &output, &input);
    if (ZSTD_isError(status) != 0 || (status != 0 && input.pos == before && output.pos == 0)) {
      return corrupt("the zstd frame is damaged or cut off");
    }
    TRY_VOID(sink.put({out.data(), output.pos}));
  }
  return {};
}

Bytes gzip(std::span<const uint8_t> in, int level) {
  z_stream stream{};
  CHECK_INVARIANT(deflateInit2(&stream, level == INT32_MIN ? Z_DEFAULT_COMPRESSION : level,
                               Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, deflateEnd);
  Bytes out = Bytes::allocate(deflateBound(&stream, in.size()));
  stream.next_in = const_cast<uint8_t*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = out.mutable_data();
  stream.avail_out = static_cast<uInt>(out.size());
  CHECK_INVARIANT(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  return out.slice(0, out.size() - stream.avail_out);
}

Bytes snappy_xerial(std::span<const uint8_t> in) {
  const size_t blocks = in.size() / kSnappyBlockSize + 1;
  Bytes out = Bytes::allocate(kXerialHeader.size() +
                              blocks * (4 + snappy::MaxCompressedLength(kSnappyBlockSize)));
  uint8_t* at = std::copy(kXerialHeader.begin(), kXerialHeader.end(), out.mutable_data());
  while (!in.empty()) {
    const auto block = in.first(std::min(in.size(), kSnappyBlockSize));
    size_t size = 0;
    snappy::RawCompress(reinterpret_cast<const char*>(block.data()), block.size(),
                        reinterpret_cast<char*>(at + 4), &size);
    store(at, static_cast<int32_t>(size));
    at += 4 + size;
    in = in.subspan(block.size());
  }
  return out.slice(0, static_cast<size_t>(at - out.data()));
}

Bytes lz4(std::span<const uint8_t> in, int level) {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  preferences.compressionLevel = level == INT32_MIN ? 0 : level;
  Bytes out = Bytes::allocate(LZ4F_compressFrameBound(in.size(), &preferences));
  const size_t size =
      LZ4F_compressFrame(out.mutable_data(), out.size(), in.data(), in.size(), &preferences);
  CHECK_INVARIANT(!LZ4F_isError(size));
  return out.slice(0, size);
}

Bytes zstd(std::span<const uint8_t> in, int level) {
  Bytes out = Bytes::allocate(ZSTD_compressBound(in.size()));
  const size_t size = ZSTD_compress(out.mutable_data(), out.size(), in.data(), in.size(),
                                    level == INT32_MIN ? 3 : level);
  CHECK_INVARIANT(ZSTD_isError(size) == 0);
  return out.slice(0, size);
}

}  // namespace

Result<> decompress(Compression codec, std::span<const uint8_t> in, uint64_t out_max,
                    const Sink& sink) {
  CappedSink capped(sink, out_max);
  switch (codec) {
    case Compression::kNone: return capped.put(in);
    case Compression::kGzip: return gunzip(in, capped);
    case Compression::kSnappy: return unsnappy(in, capped);
    case Compression::kLz4: return unlz4(in, capped);
    case Compression::kZstd: return unzstd(in, capped);
  }
  return corrupt("the batch names no known codec");
}

Result<Bytes> decompress(Compression codec, std::span<const uint8_t> in, uint64_t out_max) {
  std::vector<uint8_t> out;
  TRY_VOID(decompress(codec, in, out_max, [&](std::span<const uint8_t> piece) -> Result<> {
    out.insert(out.end(), piece.begin(), piece.end());
    return {};
  }));
  return Bytes::copy_of(out);
}

Bytes compress(Compression codec, std::span<const uint8_t> in, int level) {
  switch (codec) {
    case Compression::kGzip: return gzip(in, level);
    case Compression::kSnappy: return snappy_xerial(in);
    case Compression::kLz4: return lz4(in, level);
    default: CHECK_INVARIANT(codec == Compression::kZstd); return zstd(in, level);
  }
}

}  // namespace klamm::protocol
