#include "storage/env/guarded_disk.h"

#include <catch2/catch.hpp>
#include <cerrno>

#include "storage/env/sim_disk.h"
#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::storage;

TEST_CASE("guarded disk: after a failed sync nothing works any more") {
  SimDisk below;
  GuardedDisk disk(below);
  int told = 0;
  disk.on_failure([&](const Error&) { ++told; });
  auto file = disk.open("/d/a", OpenMode::kCreate);
  REQUIRE(file);
  REQUIRE((*file)->write_at(0, span_of("one")));
  below.fail_nth(1);
  CHECK_FALSE((*file)->sync());
  CHECK(disk.failed());
  CHECK(told == 1);
  // A repeated sync would succeed below, without the pages.
  CHECK_FALSE((*file)->sync());
  CHECK_FALSE((*file)->write_at(3, span_of("two")));
  CHECK_FALSE(disk.open("/d/b", OpenMode::kCreate));
  uint8_t byte[1];
  CHECK_FALSE((*file)->read_at(0, byte));
  CHECK(told == 1);
}

TEST_CASE("guarded disk: a full disk and a missing file are no failures") {
  SimDisk below;
  GuardedDisk disk(below);
  CHECK_FALSE(disk.open("/d/none", OpenMode::kRead));
  auto file = disk.open("/d/a", OpenMode::kCreate);
  REQUIRE(file);
  below.set_capacity(2);
  const auto written = (*file)->write_at(0, span_of("more than two"));
  REQUIRE_FALSE(written);
  CHECK(is_disk_full(written.error()));
  CHECK_FALSE(disk.failed());
  below.set_capacity(UINT64_MAX);
  CHECK((*file)->write_at(0, span_of("more than two")));
  // A sync that has no room has lost what it was to write.
  below.fail_nth(1, ENOSPC);
  CHECK_FALSE((*file)->sync());
  CHECK(disk.failed());
}

TEST_CASE("guarded disk: who asks late is told of what has been") {
  SimDisk below;
  GuardedDisk disk(below);
  auto file = disk.open("/d/a", OpenMode::kCreate);
  below.fail_nth(1);
  CHECK_FALSE((*file)->sync());
  std::string why;
  disk.on_failure([&](const Error& error) { why = error.why; });
  CHECK(why.find("simulated") != std::string::npos);
}
