#pragma once
// The answer to one request: move-only, sent exactly once, now or later, from any shard. Knows the
// version to encode with, so a handler need not.
#include <spdlog/spdlog.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "protocol/base/check.h"
#include "protocol/base/writer.h"

namespace klamm::broker {

// Where answers go; a connection. Answers may arrive in any order; the sink sends them in the order
// of requests.
class ReplySink {
 public:
  virtual ~ReplySink() = default;
  virtual void complete(uint64_t slot, protocol::Writer frame) = 0;
  // The request gets no answer (Produce with acks=0).
  virtual void complete_without_answer(uint64_t slot) = 0;
  // The connection cannot go on.
  virtual void abandon() = 0;
};

// The way back to the shard of a sink, from any other.
class ReplyRoute {
 public:
  virtual ~ReplyRoute() = default;
  virtual bool is_here() const = 0;
  virtual void post(std::move_only_function<void()> task) = 0;
};

// The untyped part of a Reply. The sink is only ever locked on its own shard.
struct ReplyTicket {
  std::weak_ptr<ReplySink> sink;
  ReplyRoute* route = nullptr;
  uint64_t slot = 0;
  int32_t correlation_id = 0;
  int16_t version = 0;
  bool flexible_header = false;
};

template <class Response>
class Reply {
 public:
  explicit Reply(ReplyTicket ticket) : ticket_(std::move(ticket)), open_(true) {}
  Reply(Reply&& other) noexcept
      : ticket_(std::move(other.ticket_)), open_(std::exchange(other.open_, false)) {}
  Reply& operator=(Reply&& other) noexcept {
    ticket_ = std::move(other.ticket_);
    open_ = std::exchange(other.open_, false);
    return *this;
  }
  // A reply that is dropped unsent means that whoever held it went away with the broker.
  ~Reply() = default;

  int16_t version() const { return ticket_.version; }
  // The connection that asked; on its own shard.
  const std::weak_ptr<ReplySink>& connection() const { return ticket_.sink; }
  // False once the client has gone; work for it may be dropped.
  bool is_wanted() const { return open_ && !ticket_.sink.expired(); }

  void send(const Response& response) { send_as(response, ticket_.version); }
  // For ApiVersions, which answers a version that it does not know with version 0.
  void send_as(const Response& response, int16_t version) {
    CHECK_INVARIANT(std::exchange(open_, false));
    if (ticket_.sink.expired()) {
      return;
    }
    protocol::Writer frame;
    frame.fixed<int32_t>(0);
    frame.fixed(ticket_.correlation_id);
    if (ticket_.flexible_header) {
      frame.uvarint(0);
    }
    response.encode(frame, version);
    if (frame.refused() != nullptr) {
      // The client's version cannot be told the truth; the reference closes the connection too.
      spdlog::error("{} cannot be said in version {} of the answer", frame.refused(), version);
      return to_sink([](ReplySink& sink) { sink.abandon(); });
    }
    protocol::store(frame.mutable_head(), static_cast<int32_t>(frame.size() - 4));
    to_sink([slot = ticket_.slot, frame = std::move(frame)](ReplySink& sink) mutable {
      sink.complete(slot, std::move(frame));
    });
  }
  void send_nothing() {
    CHECK_INVARIANT(std::exchange(open_, false));
    to_sink([slot = ticket_.slot](ReplySink& sink) { sink.complete_without_answer(slot); });
  }
  // Closes the connection instead of answering.
  void abandon() {
    CHECK_INVARIANT(std::exchange(open_, false));
    to_sink([](ReplySink& sink) { sink.abandon(); });
  }

 private:
  template <class Task>
  void to_sink(Task task) {
    if (ticket_.route->is_here()) {
      if (const auto sink = ticket_.sink.lock()) {
        task(*sink);
      }
      return;
    }
    ticket_.route->post([weak = std::move(ticket_.sink), task = std::move(task)]() mutable {
      if (const auto sink = weak.lock()) {
        task(*sink);
      }
    });
  }

  ReplyTicket ticket_;
  bool open_ = false;
};

}  // namespace klamm::broker
