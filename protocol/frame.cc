#include "protocol/frame.h"

#include <algorithm>

#include "protocol/generated/request_header.h"

namespace klamm::protocol {
namespace {

constexpr auto kApiVersions = static_cast<int16_t>(ApiKey::kApiVersions);

}  // namespace

const ApiFacts* find_api(int16_t api_key) {
  const auto found =
      std::find_if(std::begin(kApiFacts), std::end(kApiFacts),
                   [&](const ApiFacts& api) { return static_cast<int16_t>(api.key) == api_key; });
  return found == std::end(kApiFacts) ? nullptr : found;
}

Result<FrameHeader> decode_request_header(Reader& in) {
  Reader peek = in;
  const auto api_key = peek.fixed<int16_t>();
  const auto version = peek.fixed<int16_t>();
  const ApiFacts* api = find_api(api_key);
  if (!peek.ok() || api == nullptr) {
    return fail(ErrorCode::kUnsupportedVersion, "unknown API key " + std::to_string(api_key));
  }
  const bool in_range = version >= api->version_min && version <= api->version_max;
  if (!in_range && api_key != kApiVersions) {
    return fail(ErrorCode::kUnsupportedVersion,
                std::string(api->name) + " has no version " + std::to_string(version));
  }
  RequestHeader header;
  header.decode(in, version >= api->flexible_from ? 2 : 1);
  // What an ApiVersions request of a later release has in its header is its own affair.
  if (!in.ok() && in_range) {
    return fail(ErrorCode::kInvalidRequest, "the request's header is malformed");
  }
  return FrameHeader{api_key, version, header.correlation_id, header.client_id};
}

bool response_header_is_flexible(int16_t api_key, int16_t version) {
  const ApiFacts* api = find_api(api_key);
  return api != nullptr && api_key != kApiVersions && version >= api->flexible_from;
}

}  // namespace klamm::protocol
