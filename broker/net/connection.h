#pragma once
// One client connection. Reads frames, has them handled in order, and sends the answers in the
// order of the requests whatever the order in which they get ready. Memory is bounded: an idle
// connection holds no buffer, a frame's buffer is taken when its length is known and legal, no more
// than kInFlightMax requests are open (then reading stops, and TCP holds the client back), and an
// answer's records stay in their file until they are sent.
#include <asio/ip/tcp.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "broker/handlers/dispatch.h"
#include "broker/handlers/reply.h"
#include "broker/net/shard.h"
#include "protocol/base/bytes.h"

namespace klamm::broker {

// As the size of a socket's buffer.
inline constexpr int32_t kSystemsChoice = -1;

struct ConnectionLimits {
  int32_t frame_max = 100 << 20;  // socket.request.max.bytes
  // socket.send.buffer.bytes. The system lets a buffer grow to megabytes, and what is sent from the
  // page cache takes no memory there; with Kafka's default broker and client would wait for each
  // other ten times as often, which is a fifth of what a fetch costs.
  int32_t send_buffer = kSystemsChoice;
};

// A stretch of a file that was read on another thread; without bytes where it was brought to the
// page cache.
struct Chunk {
  std::shared_ptr<const protocol::ByteSource> source;
  uint64_t position = 0;
  protocol::Bytes bytes;
  bool holds(const protocol::ByteSource* of, uint64_t at) const {
    return source.get() == of && at >= position && at < position + bytes.size();
  }
};

// A stretch of a file that is in the page cache, and the file's descriptor.
struct FileRange {
  std::shared_ptr<const protocol::ByteSource> source;
  int file = -1;
  uint64_t position = 0;
  size_t size = 0;
};

class Connection : public ReplySink, public std::enable_shared_from_this<Connection> {
 public:
  static constexpr size_t kInFlightMax = 64;
  static constexpr size_t kColdChunkSize = 1 << 20;
  static constexpr size_t kSendRoomMin = 64 * 1024;
  static constexpr size_t kLargeFrame = 32 * 1024;
  static constexpr size_t kPeek = 1024;

  // Called for each complete frame (without its length).
  using FrameHandler =
      std::function<FrameFate(Connection&, const protocol::Bytes& frame, uint64_t slot)>;

  Connection(asio::ip::tcp::socket socket, Shard& shard, std::string listener,
             ConnectionLimits limits, FrameHandler handler);
  ~Connection() override;

  void start();
  void close();
  bool is_open() const { return socket_.is_open(); }
  const std::string& client_host() const { return client_host_; }
  const std::string& listener_name() const { return listener_; }
  int64_t last_active_ms() const { return last_active_ms_; }
  bool has_open_requests() const { return !slots_.empty(); }

  void complete(uint64_t slot, protocol::Writer frame) override;
  void complete_without_answer(uint64_t slot) override;
  void abandon() override { close(); }

 private:
  struct Slot {
    bool done = false;
    std::optional<protocol::Writer> frame;  // none: no answer is owed
  };
  // An answer on its way, with how much of it has left.
  struct Outgoing {
    protocol::Writer frame;
    size_t sent = 0;
  };

  void wait_readable();
  void wait_writable();
  void on_readable();
  size_t room_behind_frame() const;
  bool read_some(bool& drained);
  bool take_bytes(const uint8_t* data, size_t size);
  bool begin_frame(int32_t size);
  bool finish_frame();
  bool hand_over(const protocol::Bytes& frame, uint64_t slot);
  void release_held();
  void mark_done(uint64_t slot, std::optional<protocol::Writer> frame);
  void flush();
  bool send_some(bool& blocked);
  bool send_file(const FileRange& range, bool& blocked);
  void note_sent(size_t size, bool blocked);
  void fetch_cold(const protocol::Piece& piece);

  asio::ip::tcp::socket socket_;
  Shard& shard_;
  std::string listener_;
  std::string client_host_;
  ConnectionLimits limits_;
  FrameHandler handler_;
  int64_t last_active_ms_ = 0;

  // The frame that is being read.
  uint8_t length_[4] = {};
  size_t length_held_ = 0;
  protocol::Bytes frame_;
  size_t frame_held_ = 0;
  size_t last_frame_ = 0;  // the size of the newest
  bool in_frame_ = false;
  bool waiting_readable_ = false;
  bool reading_ = false;
  bool paused_ = false;

  std::deque<Slot> slots_;
  // No request after this slot is handed over before it is answered; they wait here.
  std::optional<uint64_t> barrier_;
  std::deque<std::pair<protocol::Bytes, uint64_t>> held_;
  uint64_t first_slot_ = 0;
  std::deque<Outgoing> out_;
  bool waiting_writable_ = false;
  bool waiting_disk_ = false;
  Chunk chunk_;
  size_t send_room_ = Shard::kWriteScratchSize;
  bool flushing_ = false;
};

}  // namespace klamm::broker
