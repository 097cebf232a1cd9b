// Any message at any version: decoding is total, and what was decoded encodes to something that
// decodes to the same.
#include <cstdlib>

#include "protocol/all_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace klamm::protocol;
  if (size < 3) {
    return 0;
  }
  const auto& messages = all_messages();
  const AnyMessage& message = messages[(data[0] | data[1] << 8) % messages.size()];
  const auto version = static_cast<int16_t>(
      message.version_min + data[2] % (message.version_max - message.version_min + 1));
  Reader in(Bytes::copy_of({data + 3, size - 3}));
  Writer first;
  if (!message.recode(in, version, first)) {
    return 0;
  }
  const Bytes once = first.flatten();
  Reader again(once);
  Writer second;
  if (!message.recode(again, version, second) || !(second.flatten() == once)) {
    std::abort();
  }
  return 0;
}
