#include "storage/env/posix_env.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>

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

TEST_CASE("what is in the page cache is mapped where it lies, at any position") {
  const Folder folder;
  const auto disk = make_posix_disk();
  const auto file = written(*disk, folder.path + "/f");
  for (const auto& [position, size] : {std::pair<size_t, size_t>{0, kSize},
                                       {1, 4096},
                                       {4095, 2},
                                       {4096, 8192},
                                       {123'457, kSize - 123'457}}) {
    const auto mapped = file->map_cached(position, size);
    std::vector<uint8_t> read(size);
    REQUIRE(file->read_at(position, read).has_value());
    REQUIRE(mapped.has_value());
    CHECK(std::ranges::equal(mapped->span(), read));
  }
}

TEST_CASE("beyond the end nothing is mapped, and a file that is cut makes the send fail") {
  const Folder folder;
  const auto disk = make_posix_disk();
  const auto file = written(*disk, folder.path + "/f");
  CHECK_FALSE(file->map_cached(0, kSize + 1).has_value());
  CHECK_FALSE(file->map_cached(kSize, 1).has_value());
  CHECK_FALSE(file->map_cached(0, 0).has_value());
  CHECK_FALSE(file->map_cached(0, 64 << 20).has_value());
  const auto mapped = file->map_cached(8192, 8192);
  REQUIRE(mapped.has_value());
  REQUIRE(file->truncate(4096).has_value());
  CHECK_FALSE(file->map_cached(8192, 8192).has_value());
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  const ssize_t sent = ::send(ends[0], mapped->data(), mapped->size(), MSG_NOSIGNAL);
  const int error = errno;
  CHECK(sent == -1);
  CHECK(error == EFAULT);
  ::close(ends[0]);
  ::close(ends[1]);
}
