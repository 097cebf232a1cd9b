#pragma once
// Request and response headers: which form they have, and reading the one of a request.
#include <cstdint>
#include <optional>
#include <string>

#include "protocol/base/reader.h"
#include "protocol/base/result.h"
#include "protocol/generated/api_key.h"

namespace klamm::protocol {

struct FrameHeader {
  int16_t api_key = 0;
  int16_t version = 0;
  int32_t correlation_id = 0;
  std::optional<std::string> client_id;
};

// The facts of an API; null for a key that the release does not know.
const ApiFacts* find_api(int16_t api_key);

// Reads the header of a request and leaves the reader at its body. INVALID_REQUEST when it is cut
// off, UNSUPPORTED_VERSION for an API or version outside the release; only ApiVersions is let
// through at any version, for its answer tells the client what to use (the body of an unknown
// version is not read).
Result<FrameHeader> decode_request_header(Reader& in);

// ApiVersions answers have the old header at every version, so that any client can read them.
bool response_header_is_flexible(int16_t api_key, int16_t version);

}  // namespace klamm::protocol
