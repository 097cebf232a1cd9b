#include "broker/net/connection.h"

#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>

namespace klamm::broker {

using asio::ip::tcp;
using protocol::Bytes;
using protocol::Splice;
using protocol::Writer;

namespace {

constexpr size_t kPartsMax = 64;
// From here on it costs less to have the kernel send a range of a file from the page cache than to
// copy it into the scratch first.
constexpr size_t kSendFileMin = 32 * 1024;

// The next bytes of an answer as iovecs, beginning behind `skip`; file ranges are read into the
// scratch as far as that needs no wait for the disk. Ends before a range that the kernel can send.
class PartCollector {
 public:
  // `chunk`: what a wait has brought.
  PartCollector(Shard& shard, size_t room, const Chunk& chunk)
      : shard_(shard), room_max_(room), chunk_(chunk) {}

  // False once nothing more fits.
  bool add(const Writer& frame, size_t skip) {
    size_t head_at = 0;
    for (const Splice& splice : frame.splices()) {
      if (!add_memory(frame.head().data() + head_at, splice.at - head_at, skip) ||
          !add_piece(splice.piece, skip)) {
        return false;
      }
      head_at = splice.at;
    }
    return add_memory(frame.head().data() + head_at, frame.head().size() - head_at, skip);
  }
  iovec* parts() { return parts_; }
  size_t count() const { return count_; }
  size_t total() const { return total_; }
  bool failed() const { return failed_; }
  // What comes next and is to be sent from the file.
  const std::optional<FileRange>& file() const { return file_; }
  // Where the disk must be waited for.
  const std::optional<protocol::Piece>& cold() const { return cold_; }

 private:
  bool add_memory(const uint8_t* data, size_t size, size_t& skip) {
    const size_t dropped = std::min(skip, size);
    skip -= dropped;
    if (size == dropped) {
      return true;
    }
    if (count_ == kPartsMax) {
      return false;
    }
    parts_[count_++] = {const_cast<uint8_t*>(data + dropped), size - dropped};
    total_ += size - dropped;
    return true;
  }
  bool add_piece(const protocol::Piece& piece, size_t& skip) {
    if (piece.source == nullptr) {
      return add_memory(piece.bytes.data(), piece.size, skip);
    }
    const size_t dropped = std::min(skip, piece.size);
    skip -= dropped;
    const size_t left = piece.size - dropped;
    if (left == 0) {
      return true;
    }
    const uint64_t position = piece.position + dropped;
    if (chunk_.holds(piece.source.get(), position)) {
      const auto at = static_cast<size_t>(position - chunk_.position);
      const size_t take = std::min(left, chunk_.bytes.size() - at);
      size_t nothing = 0;
      return add_memory(chunk_.bytes.data() + at, take, nothing) && take == left;
    }
    if (left >= kSendFileMin) {
      file_ = cached(piece, position, std::min(left, room_max_));
      if (file_) {
        return false;
      }
    }
    const size_t room = room_max_ - std::min(room_max_, total_);
    if (count_ == kPartsMax || room == 0) {
      return false;
    }
    const size_t take = std::min(left, room);
    uint8_t* into = shard_.write_scratch() + scratch_used_;
    const auto got = piece.source->read_cached(position, {into, take});
    if (!got || (*got && **got == 0)) {
      failed_ = true;
      return false;
    }
    if (!*got) {
      cold_ = {{}, piece.source, position, left};
      return false;
    }
    scratch_used_ += **got;
    parts_[count_++] = {into, **got};
    total_ += **got;
    return **got == left;
  }

  static std::optional<FileRange> cached(const protocol::Piece& piece, uint64_t position,
                                         size_t size) {
    const auto file = piece.source->cached_file(position, size);
    return file ? std::optional(FileRange{piece.source, *file, position, size}) : std::nullopt;
  }

  Shard& shard_;
  size_t room_max_;
  const Chunk& chunk_;
  std::optional<protocol::Piece> cold_;
  iovec parts_[kPartsMax];
  size_t count_ = 0;
  size_t total_ = 0;
  size_t scratch_used_ = 0;
  std::optional<FileRange> file_;
  bool failed_ = false;
};

// A listener for both families sees IPv4 clients under IPv6 addresses.
asio::ip::address unmapped(const asio::ip::address& address) {
  return address.is_v6() && address.to_v6().is_v4_mapped()
             ? asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6())
             : address;
}

// An algorithm that paces (bbr) starts a timer for each burst, a third of what it costs to send
// from the page cache; within one machine there is no path to be gentle with. Reno never paces and
// is part of every kernel.
void do_not_pace(tcp::socket& socket) {
  constexpr char kAlgorithm[] = "reno";
  ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_CONGESTION, kAlgorithm,
               sizeof kAlgorithm - 1);
}

}  // namespace

Connection::Connection(tcp::socket socket, Shard& shard, std::string listener,
                       ConnectionLimits limits, FrameHandler handler)
    : socket_(std::move(socket)),
      shard_(shard),
      listener_(std::move(listener)),
      limits_(limits),
      handler_(std::move(handler)) {
  asio::error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  if (limits_.send_buffer != kSystemsChoice) {
    socket_.set_option(asio::socket_base::send_buffer_size(limits_.send_buffer), ignored);
  }
  const asio::ip::address client = unmapped(socket_.remote_endpoint(ignored).address());
  client_host_ = "/" + client.to_string(ignored);
  if (client.is_loopback()) {
    do_not_pace(socket_);
  }
  last_active_ms_ = shard_.clock().monotonic_ms();
}

Connection::~Connection() = default;

void Connection::start() { wait_readable(); }

void Connection::close() {
  if (socket_.is_open()) {
    asio::error_code ignored;
    socket_.close(ignored);
  }
}

void Connection::wait_readable() {
  if (waiting_readable_ || !socket_.is_open()) {
    return;
  }
  waiting_readable_ = true;
  socket_.async_wait(tcp::socket::wait_read,
                     [self = shared_from_this()](const asio::error_code& error) {
                       self->waiting_readable_ = false;
                       if (!error) {
                         self->on_readable();
                       }
                     });
}

void Connection::on_readable() {
  constexpr int kReadsPerTurn = 16;  // then others get their turn
  last_active_ms_ = shard_.clock().monotonic_ms();
  reading_ = true;
  bool drained = false;
  for (int i = 0; i < kReadsPerTurn && !drained && socket_.is_open(); ++i) {
    if (slots_.size() >= kInFlightMax) {
      paused_ = true;
      break;
    }
    if (!read_some(drained)) {
      close();
      break;
    }
  }
  reading_ = false;
  flush();
  if (!paused_) {
    wait_readable();
  }
}

// Behind a large frame another is likely, most of which is to go straight into its buffer.
size_t Connection::room_behind_frame() const {
  return last_frame_ >= kLargeFrame ? kPeek : Shard::kReadScratchSize;
}

// The rest of a frame goes straight into its buffer, and with the same call comes what follows it.
bool Connection::read_some(bool& drained) {
  const size_t rest = in_frame_ ? frame_.size() - frame_held_ : 0;
  iovec parts[2] = {{in_frame_ ? frame_.mutable_data() + frame_held_ : nullptr, rest},
                    {shard_.read_scratch(), room_behind_frame()}};
  const bool skips_frame = rest == 0;
  const ssize_t count = ::readv(socket_.native_handle(), parts + skips_frame, 2 - skips_frame);
  if (count <= 0) {
    drained = true;
    return count < 0 && (errno == EAGAIN || errno == EINTR);
  }
  const auto got = static_cast<size_t>(count);
  drained = got < rest + parts[1].iov_len;
  const size_t into_frame = std::min(got, rest);
  frame_held_ += into_frame;
  if (in_frame_ && frame_held_ == frame_.size() && !finish_frame()) {
    return false;
  }
  return take_bytes(shard_.read_scratch(), got - into_frame);
}

bool Connection::take_bytes(const uint8_t* data, size_t size) {
  while (size > 0) {
    if (!in_frame_) {
      const size_t take = std::min(size, sizeof length_ - length_held_);
      std::copy_n(data, take, length_ + length_held_);
      length_held_ += take;
      data += take;
      size -= take;
      if (length_held_ == sizeof length_ && !begin_frame(protocol::load<int32_t>(length_))) {
        return false;
      }
      continue;
    }
    const size_t take = std::min(size, frame_.size() - frame_held_);
    std::copy_n(data, take, frame_.mutable_data() + frame_held_);
    frame_held_ += take;
    data += take;
    size -= take;
    if (frame_held_ == frame_.size() && !finish_frame()) {
      return false;
    }
  }
  return true;
}

bool Connection::begin_frame(int32_t size) {
  constexpr int32_t kFrameMin = 8;  // api key, version, correlation id
  if (size < kFrameMin || size > limits_.frame_max) {
    spdlog::warn(
        "Unexpected error from {} (channelId={}); closing connection: Invalid receive (size = "
        "{}{})",
        client_host_, listener_, size,
        size > limits_.frame_max ? " larger than " + std::to_string(limits_.frame_max) : "");
    return false;
  }
  last_frame_ = static_cast<size_t>(size);
  frame_ = Bytes::allocate(last_frame_);
  frame_held_ = 0;
  length_held_ = 0;
  in_frame_ = true;
  return true;
}

bool Connection::finish_frame() {
  in_frame_ = false;
  const Bytes frame = std::exchange(frame_, Bytes());
  slots_.emplace_back();
  const uint64_t slot = first_slot_ + slots_.size() - 1;
  if (barrier_) {
    held_.emplace_back(frame, slot);
    return true;
  }
  return hand_over(frame, slot);
}

bool Connection::hand_over(const Bytes& frame, uint64_t slot) {
  const FrameFate fate = handler_(*this, frame, slot);
  const bool is_answered = slot < first_slot_;
  if (fate == FrameFate::kHold && !is_answered) {
    barrier_ = slot;
  }
  return fate != FrameFate::kClose;
}

// Called when requests were answered.
void Connection::release_held() {
  while (barrier_ && first_slot_ > *barrier_) {
    barrier_.reset();
    while (!barrier_ && !held_.empty()) {
      const auto [frame, slot] = std::move(held_.front());
      held_.pop_front();
      if (!hand_over(frame, slot)) {
        return close();
      }
    }
  }
}

void Connection::complete(uint64_t slot, Writer frame) { mark_done(slot, std::move(frame)); }

void Connection::complete_without_answer(uint64_t slot) { mark_done(slot, std::nullopt); }

void Connection::mark_done(uint64_t slot, std::optional<Writer> frame) {
  Slot& done = slots_.at(slot - first_slot_);
  done.done = true;
  done.frame = std::move(frame);
  while (!slots_.empty() && slots_.front().done) {
    if (slots_.front().frame) {
      out_.push_back({std::move(*slots_.front().frame)});
    }
    slots_.pop_front();
    ++first_slot_;
  }
  release_held();
  // Answers given while requests are still being read leave together.
  if (!reading_) {
    flush();
  }
}

void Connection::wait_writable() {
  waiting_writable_ = true;
  socket_.async_wait(tcp::socket::wait_write,
                     [self = shared_from_this()](const asio::error_code& error) {
                       self->waiting_writable_ = false;
                       if (!error) {
                         self->last_active_ms_ = self->shard_.clock().monotonic_ms();
                         self->flush();
                       }
                     });
}

void Connection::flush() {
  if (flushing_ || waiting_writable_ || waiting_disk_) {
    return;
  }
  flushing_ = true;
  bool blocked = false;
  while (!out_.empty() && !blocked && socket_.is_open()) {
    if (!send_some(blocked)) {
      close();
    }
  }
  flushing_ = false;
  if (!socket_.is_open()) {
    return;
  }
  if (waiting_disk_) {
    return;
  }
  if (blocked) {
    wait_writable();
  } else if (paused_ && !reading_ && slots_.size() < kInFlightMax) {
    paused_ = false;
    wait_readable();
  }
}

// The disk must be waited for: somebody else does, and the shard goes on.
void Connection::fetch_cold(const protocol::Piece& piece) {
  waiting_disk_ = true;
  auto chunk = std::make_shared<Chunk>();
  chunk->source = piece.source;
  chunk->position = piece.position;
  const size_t size = std::min(piece.size, kColdChunkSize);
  // What has been brought to the cache and is gone again when it could be sent is kept here.
  const bool again = chunk_.source == chunk->source && chunk_.position == chunk->position;
  shard_.background().run(
      [chunk, size, again]() -> Result<> {
        if (!again) {
          TRY(const bool is_there, chunk->source->bring_to_cache(chunk->position, size));
          if (is_there) {
            return {};
          }
        }
        chunk->bytes = protocol::Bytes::allocate(size);
        TRY(const size_t got,
            chunk->source->read_at(chunk->position, {chunk->bytes.mutable_data(), size}));
        return got == size ? Result<>()
                           : fail(protocol::ErrorCode::kUnknownServerError, "the log was cut");
      },
      [self = shared_from_this(), chunk](const Result<>& outcome) {
        self->waiting_disk_ = false;
        if (!outcome) {
          spdlog::warn("cannot read for {}: {}", self->client_host_, outcome.error().why);
          return self->close();
        }
        self->chunk_ = std::move(*chunk);
        self->flush();
      });
}

bool Connection::send_some(bool& blocked) {
  PartCollector collector(shard_, send_room_, chunk_);
  for (const Outgoing& outgoing : out_) {
    if (!collector.add(outgoing.frame, outgoing.sent)) {
      break;
    }
  }
  if (collector.failed()) {
    spdlog::warn("a log was cut while an answer to {} was on its way; closing the connection",
                 client_host_);
    return false;
  }
  if (collector.total() == 0 && collector.cold()) {
    fetch_cold(*collector.cold());
    blocked = true;
    return true;
  }
  if (collector.total() == 0 && collector.file()) {
    return send_file(*collector.file(), blocked);
  }
  msghdr message{};
  message.msg_iov = collector.parts();
  message.msg_iovlen = collector.count();
  const int more = collector.file() ? MSG_MORE : 0;
  const ssize_t put = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | more);
  if (put < 0) {
    blocked = errno == EAGAIN;
    return errno == EAGAIN || errno == EINTR;
  }
  const auto sent = static_cast<size_t>(put);
  blocked = sent < collector.total();
  note_sent(sent, blocked);
  return blocked || !collector.file() || send_file(*collector.file(), blocked);
}

bool Connection::send_file(const FileRange& range, bool& blocked) {
  auto at = static_cast<off_t>(range.position);
  const ssize_t put = ::sendfile(socket_.native_handle(), range.file, &at, range.size);
  if (put <= 0) {
    blocked = put < 0 && errno == EAGAIN;
    if (put == 0 || errno == EIO) {
      spdlog::warn(
          "a log was cut or cannot be read while an answer to {} was on its way; closing the "
          "connection",
          client_host_);
    }
    return put < 0 && (errno == EAGAIN || errno == EINTR);
  }
  blocked = static_cast<size_t>(put) < range.size;
  note_sent(static_cast<size_t>(put), blocked);
  return true;
}

void Connection::note_sent(size_t size, bool blocked) {
  // What does not fit the socket is read, or looked for in the cache, again later; a client that
  // reads slowly costs less so.
  send_room_ =
      blocked ? std::max(size, kSendRoomMin) : std::min(send_room_ * 2, Shard::kWriteScratchSize);
  while (size > 0) {
    Outgoing& first = out_.front();
    const size_t rest = first.frame.size() - first.sent;
    if (size < rest) {
      first.sent += size;
      break;
    }
    size -= rest;
    out_.pop_front();
  }
  if (out_.empty()) {
    chunk_ = {};
  }
}

}  // namespace klamm::broker
