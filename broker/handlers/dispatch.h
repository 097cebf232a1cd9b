#pragma once
// From a frame to its handler: reads the header, finds the row, and decodes and handles the
// request, here or at the active controller.
#include "broker/handlers/reply.h"
#include "broker/handlers/request_context.h"
#include "protocol/base/bytes.h"

namespace klamm::broker {

// What follows from a frame: the connection closes, goes on, or holds back what comes next until
// everything so far is answered.
enum class FrameFate { kClose, kGoOn, kHold };

// Where a frame came from.
struct FrameSource {
  std::string listener;
  std::string client_host;
  std::weak_ptr<ReplySink> sink;
  ReplyRoute* route;
  uint64_t slot;
};

// `frame`: the request with its header, without its length.
FrameFate dispatch(Broker& broker, const protocol::Bytes& frame, FrameSource source);

}  // namespace klamm::broker
