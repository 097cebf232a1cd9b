#include "broker/handlers/dispatch.h"

#include <spdlog/spdlog.h>

#include "broker/cluster/forwarding.h"
#include "broker/handlers/table.h"
#include "protocol/frame.h"

namespace klamm::broker {

FrameFate dispatch(Broker& broker, const protocol::Bytes& frame, FrameSource source) {
  protocol::Reader in(frame);
  const auto header = protocol::decode_request_header(in);
  if (!header) {
    spdlog::debug("{} sent a request that cannot be read ({}); closing its connection",
                  source.client_host, header.error().why);
    return FrameFate::kClose;
  }
  const HandlerRow* const row = find_handler(header->api_key);
  const bool at_controller = broker.config().is_controller_listener(source.listener);
  if (row == nullptr || !is_served(*row, at_controller)) {
    spdlog::debug("{} asked for API {}, which is not served; closing its connection",
                  source.client_host, header->api_key);
    return FrameFate::kClose;
  }
  RequestContext context{
      broker,          header->version, header->client_id.value_or(""), source.client_host,
      source.listener, at_controller};
  ReplyTicket ticket{std::move(source.sink),
                     source.route,
                     source.slot,
                     header->correlation_id,
                     header->version,
                     protocol::response_header_is_flexible(header->api_key, header->version)};
  if (row->forwarding == Forwarding::kWhole && !at_controller) {
    forward(broker, frame, {std::move(source.client_host), std::move(source.listener)},
            std::move(ticket));
    return FrameFate::kHold;
  }
  if (!row->invoke(context, in, std::move(ticket))) {
    return FrameFate::kClose;
  }
  return row->changes_metadata ? FrameFate::kHold : FrameFate::kGoOn;
}

}  // namespace klamm::broker
