#pragma once
// Every message of the release behind one function pointer, for known-answer tests, fuzzing and the
// bench.
#include <cstdint>
#include <string_view>
#include <vector>

#include "protocol/base/reader.h"
#include "protocol/base/writer.h"

namespace klamm::protocol {

struct AnyMessage {
  std::string_view name;
  std::string_view folder;  // of its schema: api, metadata, coordinator/group, ...
  int16_t version_min;
  int16_t version_max;
  // Decodes and encodes again at the same version; false when the input is malformed.
  bool (*recode)(Reader& in, int16_t version, Writer& out);
};

const std::vector<AnyMessage>& all_messages();

}  // namespace klamm::protocol
