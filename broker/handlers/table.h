#pragma once
// All handlers, one row per API. Dispatch and the ApiVersions answer are both made from this table,
// so what is advertised cannot drift from what is served.
#include <span>

#include "broker/handlers/reply.h"
#include "broker/handlers/request_context.h"
#include "protocol/base/reader.h"
#include "protocol/generated/api_key.h"

namespace klamm::broker {

// Whether a broker hands a request on to the active controller; in parts: its handler does, with
// what it has not answered itself.
enum class Forwarding : uint8_t { kNone, kWhole, kInParts };

struct HandlerRow {
  protocol::ApiKey key;
  // Decodes and handles one request; false when the body is malformed and the connection must be
  // closed.
  bool (*invoke)(RequestContext& context, protocol::Reader& body, ReplyTicket ticket);
  // Its effects reach the shards one after the other; what a connection asks next must see them.
  bool changes_metadata;
  Forwarding forwarding;
};

std::span<const HandlerRow> handler_table();
const HandlerRow* find_handler(int16_t api_key);
// Whether the listeners of the controller role, or else those of brokers, serve it.
bool is_served(const HandlerRow& row, bool at_controller);

}  // namespace klamm::broker
