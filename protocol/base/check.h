#pragma once
// CHECK guards an invariant. It stays on in release: a broken invariant stops the process before it
// can harm data.
#include <cstdio>
#include <cstdlib>

namespace klamm {

[[noreturn]] inline void check_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "CHECK failed: %s at %s:%d\n", what, file, line);
  std::abort();
}

}  // namespace klamm

#define CHECK_INVARIANT(condition) \
  ((condition) ? (void)0 : ::klamm::check_failed(#condition, __FILE__, __LINE__))
