#pragma once
// Requests that this node sends to others, as frames.
#include "protocol/base/writer.h"
#include "protocol/frame.h"
#include "protocol/generated/request_header.h"

namespace klamm::broker {

// Header and whatever `encode` writes, with the length in front.
template <class Encode>
protocol::Writer request_frame(int16_t api_key, int16_t version, int32_t id, const Encode& encode) {
  protocol::Writer out;
  out.fixed<int32_t>(0);
  protocol::RequestHeader header;
  header.request_api_key = api_key;
  header.request_api_version = version;
  header.correlation_id = id;
  header.client_id = "klamm";
  header.encode(out, version >= protocol::find_api(api_key)->flexible_from ? 2 : 1);
  encode(out, version);
  protocol::store(out.mutable_head(), static_cast<int32_t>(out.size() - 4));
  return out;
}

// Leaves the reader at the body of an answer that begins with its header.
inline void skip_response_header(protocol::Reader& in, int16_t api_key, int16_t version) {
  in.fixed<int32_t>();
  if (protocol::response_header_is_flexible(api_key, version)) {
    for (uint64_t tags = in.uvarint(); tags > 0 && in.ok(); --tags) {
      in.uvarint();
      in.take(in.uvarint());
    }
  }
}

// How many bytes of an answer, without its length, are its header; 0 when it cannot be read.
inline size_t response_header_size(const protocol::Bytes& frame, int16_t api_key, int16_t version) {
  protocol::Reader in(frame);
  skip_response_header(in, api_key, version);
  return in.ok() ? in.position() : 0;
}

}  // namespace klamm::broker
