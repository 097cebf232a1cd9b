// The header of a request: total on any bytes.
#include "protocol/frame.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  klamm::protocol::Reader in(klamm::protocol::Bytes::copy_of({data, size}));
  (void)klamm::protocol::decode_request_header(in);
  return 0;
}
