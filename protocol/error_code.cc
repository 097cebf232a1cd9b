#include "protocol/error_code.h"

namespace klamm::protocol {

std::string_view name_of(ErrorCode code) {
  switch (code) {
#define X(number, name, text, retriable) \
  case ErrorCode::name: return text;
    KLAMM_ERROR_CODES(X)
#undef X
  }
  return "UNKNOWN";
}

bool is_retriable(ErrorCode code) {
  switch (code) {
#define X(number, name, text, retriable) \
  case ErrorCode::name: return retriable;
    KLAMM_ERROR_CODES(X)
#undef X
  }
  return false;
}

}  // namespace klamm::protocol
