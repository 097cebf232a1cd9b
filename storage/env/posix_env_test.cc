#include "storage/env/posix_env.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>

#include "storage/env/guarded_disk.h"
#include "storage/env/sim_disk.h"

using namespace klamm;
using namespace klamm::storage;

namespace {

struct Folder {
  std::string path =
      std::filesystem::temp_directory_path() / ("klamm-env-" + std::to_string(::getpid()));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
};

constexpr size_t kSize = 300'000;

std::shared_ptr<File> written(Disk& disk, const std::string& path) {
  std::vector<uint8_t> content(kSize);
  for (size_t i = 0; i < content.size(); ++i) {
    content[i] = static_cast<uint8_t>(i * 31 >> 3);
  }
  auto file = disk.open(path, OpenMode::kCreate);
  REQUIRE(file.has_value());
  REQUIRE((*file)->write_at(0, content).has_value());
  return *file;
}

}  // namespace

TEST_CASE("what is in the page cache can be sent from the file, at any position") {
  const Folder folder;
  const auto disk = make_posix_disk();
  const auto file = written(*disk, folder.path + "/f");
  for (const auto& [position, size] : {std::pair<size_t, size_t>{0, kSize},
                                       {1, 4096},
                                       {4095, 2},
                                       {4096, 8192},
                                       {123'457, kSize - 123'457}}) {
    const auto descriptor = file->cached_file(position, size);
    REQUIRE(descriptor.has_value());
    std::vector<uint8_t> read(size);
    REQUIRE(file->read_at(position, read).has_value());
    std::vector<uint8_t> same(size);
    CHECK(::pread(*descriptor, same.data(), size, static_cast<off_t>(position)) ==
          static_cast<ssize_t>(size));
    CHECK(same == read);
  }
}

TEST_CASE("what is not in the page cache, or beyond the end, is not sent from the file") {
  const Folder folder;
  const auto disk = make_posix_disk();
  const auto file = written(*disk, folder.path + "/f");
  CHECK_FALSE(file->cached_file(0, kSize + 1).has_value());
  CHECK_FALSE(file->cached_file(kSize, 1).has_value());
  CHECK_FALSE(file->cached_file(0, 0).has_value());
  CHECK_FALSE(file->cached_file(0, 64 << 20).has_value());
  REQUIRE(file->sync().has_value());
  const auto descriptor = file->cached_file(0, kSize);
  REQUIRE(descriptor.has_value());
  REQUIRE(::posix_fadvise(*descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0);
  CHECK_FALSE(file->cached_file(0, kSize).has_value());
  CHECK(file->bring_to_cache(0, kSize).value());
  CHECK(file->cached_file(0, kSize).has_value());
  CHECK_FALSE(file->bring_to_cache(0, kSize + 1).value());
  REQUIRE(file->truncate(4096).has_value());
  CHECK_FALSE(file->cached_file(8192, 8192).has_value());
}

TEST_CASE(
    "a folder that is not there is no failure of the disk, neither of a real one nor in a test") {
  const auto real = make_posix_disk();
  SimDisk simulated;
  for (Disk* const below : {static_cast<Disk*>(real.get()), static_cast<Disk*>(&simulated)}) {
    GuardedDisk disk(*below);
    CHECK_FALSE(disk.list("/nobody-made-this"));
    CHECK_FALSE(disk.open("/nobody-made-this/file", OpenMode::kRead));
    CHECK_FALSE(disk.failed());
  }
}

TEST_CASE("a steady clock goes on as time passes, however the wall clock jumps") {
  struct Jumping : Clock {
    int64_t wall = 1'000'000;
    int64_t passed = 50;
    int64_t wall_ms() const override { return wall; }
    int64_t monotonic_ms() const override { return passed; }
  } clock;
  const SteadyClock steady(clock);
  CHECK(steady.wall_ms() == 1'000'000);
  clock.wall += 3'600'000;
  clock.passed += 7;
  CHECK(steady.wall_ms() == 1'000'007);
}
