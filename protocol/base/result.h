#pragma once
// Errors are values: Result<T> carries either a T or an Error with the wire's code and a reason for
// people.
#include <expected>
#include <string>
#include <utility>

#include "protocol/error_code.h"

namespace klamm {

using protocol::ErrorCode;

struct Error {
  ErrorCode code = ErrorCode::kUnknownServerError;
  std::string why;
  int system = 0;  // errno of the system call that failed; 0 when none did
};

template <class T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(ErrorCode code, std::string why, int system = 0) {
  return std::unexpected<Error>(Error{code, std::move(why), system});
}

}  // namespace klamm

#define KLAMM_CONCAT_(a, b) a##b
#define KLAMM_CONCAT(a, b) KLAMM_CONCAT_(a, b)

// TRY(auto x, f()): x is f's value, or this function returns f's error. TRY_VOID(f()) for Result<>.
#define TRY_IMPL_(tmp, lhs, ...)                                    \
  auto tmp = (__VA_ARGS__);                                         \
  if (!tmp) {                                                       \
    return std::unexpected<::klamm::Error>(std::move(tmp.error())); \
  }                                                                 \
  lhs = std::move(*tmp)
#define TRY(lhs, ...) TRY_IMPL_(KLAMM_CONCAT(try_result_, __LINE__), lhs, __VA_ARGS__)
#define TRY_VOID(...)                                                             \
  do {                                                                            \
    if (auto try_void_result = (__VA_ARGS__); !try_void_result) {                 \
      return std::unexpected<::klamm::Error>(std::move(try_void_result.error())); \
    }                                                                             \
  } while (false)
