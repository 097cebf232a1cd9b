#include "storage/env/posix_env.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "protocol/base/check.h"

namespace klamm::storage {
namespace {

std::unexpected<Error> system_error(const std::string& what, int number = errno) {
  const ErrorCode code =
      number == ENOENT ? ErrorCode::kUnknownServerError : ErrorCode::kKafkaStorageError;
  return fail(code, what + ": " + std::strerror(number), number);
}

// cachestat(2), which older headers of the system do not declare; one number on all architectures.
constexpr long kCachestat = 451;
struct CacheRange {
  uint64_t position;
  uint64_t size;
};
// Pages of the range, by state.
struct CacheState {
  uint64_t cached;
  uint64_t dirty;
  uint64_t writeback;
  uint64_t evicted;
  uint64_t recently_evicted;
};

class PosixFile : public File {
 public:
  static constexpr size_t kPage = 4096;
  static constexpr size_t kMapMax = 4 << 20;

  explicit PosixFile(int fd) : fd_(fd) {}
  ~PosixFile() override { ::close(fd_); }

  Result<size_t> read_at(uint64_t position, std::span<uint8_t> into) const override {
    size_t done = 0;
    while (done < into.size()) {
      const ssize_t got =
          ::pread(fd_, into.data() + done, into.size() - done, static_cast<off_t>(position + done));
      if (got < 0 && errno != EINTR) {
        return error_of("read");
      }
      if (got == 0) {
        break;
      }
      done += got > 0 ? static_cast<size_t>(got) : 0;
    }
    return done;
  }

  Result<std::optional<size_t>> read_cached(uint64_t position,
                                            std::span<uint8_t> into) const override {
    const iovec vector{into.data(), into.size()};
    const ssize_t got = ::preadv2(fd_, &vector, 1, static_cast<off_t>(position), RWF_NOWAIT);
    if (got >= 0) {
      return static_cast<size_t>(got);
    }
    if (errno == EAGAIN) {
      was_cold_ = true;
      return std::nullopt;
    }
    return File::read_cached(position, into);  // a file system that cannot tell
  }

  std::optional<int> cached_file(uint64_t position, size_t size) const override {
    if (size == 0 || !reaches(position + size)) {
      return std::nullopt;
    }
    if (!all_cached(position, size)) {
      was_cold_ = true;
      return std::nullopt;
    }
    if (!was_cold_) {
      return fd_;
    }
    // A page that the kernel is reading ahead is in the cache and must still be waited for.
    uint8_t last = 0;
    const auto got = read_cached(position + size - 1, {&last, 1});
    return got && *got == 1u ? std::optional(fd_) : std::nullopt;
  }

  Result<bool> bring_to_cache(uint64_t position, size_t size) const override {
    static const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    const uint64_t end = position + size;
    // The next stretch of one who reads on is read while this one is sent.
    const bool goes_on = brought_until_.exchange(end) == position;
    (void)::readahead(fd_, static_cast<off_t>(position), goes_on ? 2 * size : size);
    // Sent nowhere, the pages are waited for and not copied.
    for (auto at = static_cast<off_t>(position); static_cast<uint64_t>(at) < end;) {
      const ssize_t got = ::sendfile(nowhere, fd_, &at, end - static_cast<uint64_t>(at));
      if (got < 0 && errno == EIO) {
        return error_of("read");
      }
      if (got == 0 || (got < 0 && errno != EINTR)) {
        return false;
      }
    }
    return true;
  }

  Result<> write_at(uint64_t position, std::span<const std::span<const uint8_t>> parts) override {
    constexpr size_t kPartsMax = 64;
    while (!parts.empty()) {
      iovec vectors[kPartsMax];
      const size_t count = std::min(parts.size(), kPartsMax);
      size_t total = 0;
      for (size_t i = 0; i < count; ++i) {
        vectors[i] = {const_cast<uint8_t*>(parts[i].data()), parts[i].size()};
        total += parts[i].size();
      }
      TRY_VOID(write_vectors(position, vectors, count, total));
      position += total;
      parts = parts.subspan(count);
    }
    return {};
  }

  Result<> truncate(uint64_t size) override {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) {
      return error_of("truncate");
    }
    size_seen_ = 0;
    return {};
  }
  Result<> sync() override {
    if (::fdatasync(fd_) != 0) {
      return error_of("sync");
    }
    return {};
  }
  Result<uint64_t> size() const override {
    struct stat status{};
    if (::fstat(fd_, &status) != 0) {
      return error_of("stat");
    }
    return static_cast<uint64_t>(status.st_size);
  }
  void reserve(uint64_t size) override {
    (void)::fallocate(fd_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size));
  }

 private:
  bool reaches(uint64_t end) const {
    if (size_seen_ < end) {
      size_seen_ = size().value_or(0);
    }
    return size_seen_ >= end;
  }
  bool all_cached(uint64_t position, size_t size) const {
    const uint64_t begin = position / kPage * kPage;
    const size_t span = position + size - begin;
    const size_t pages = (span + kPage - 1) / kPage;
    CacheRange range{begin, span};
    CacheState state{};
    // None at all is also what a stacked file system says, whose pages another file has.
    if (::syscall(kCachestat, fd_, &range, &state, 0) == 0 && state.cached > 0) {
      return state.cached == pages;
    }
    return span <= kMapMax && all_resident(begin, span, pages);
  }
  // Where the kernel has no cachestat (before Linux 6.5).
  bool all_resident(uint64_t begin, size_t span, size_t pages) const {
    void* const at = ::mmap(nullptr, span, PROT_READ, MAP_SHARED, fd_, static_cast<off_t>(begin));
    if (at == MAP_FAILED) {
      return false;
    }
    unsigned char resident[kMapMax / kPage];
    const bool all_there =
        ::mincore(at, span, resident) == 0 &&
        std::all_of(resident, resident + pages, [](auto page) { return (page & 1) != 0; });
    ::munmap(at, span);
    return all_there;
  }

  Result<> write_vectors(uint64_t position, iovec* vectors, size_t count, size_t total) {
    while (total > 0) {
      const ssize_t put =
          ::pwritev(fd_, vectors, static_cast<int>(count), static_cast<off_t>(position));
      if (put < 0) {
        if (errno == EINTR) {
          continue;
        }
        return error_of("write");
      }
      position += static_cast<uint64_t>(put);
      total -= static_cast<size_t>(put);
      auto left = static_cast<size_t>(put);
      while (count > 0 && left >= vectors->iov_len) {
        left -= vectors->iov_len;
        ++vectors;
        --count;
      }
      if (count > 0) {
        vectors->iov_base = static_cast<uint8_t*>(vectors->iov_base) + left;
        vectors->iov_len -= left;
      }
    }
    return {};
  }

  // The system knows the name; with many files open, remembering it costs more than the file.
  std::unexpected<Error> error_of(const char* what) const {
    const int number = errno;
    std::error_code ignored;
    const auto path =
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd_), ignored);
    errno = number;
    return system_error(std::string(what) + " " + path.string());
  }

  int fd_;
  // Some of the file has had to come from the medium, so that the kernel may be reading ahead.
  mutable std::atomic<bool> was_cold_ = false;
  mutable std::atomic<uint64_t> brought_until_ = 0;
  mutable std::atomic<uint64_t> size_seen_ = 0;  // since it was cut last
};

class PosixLock : public DiskLock {
 public:
  PosixLock(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixLock() override {
    ::unlink(path_.c_str());
    ::close(fd_);
  }

 private:
  int fd_;
  std::string path_;
};

class PosixDisk : public Disk {
 public:
  Result<std::shared_ptr<File>> open(const std::string& path, OpenMode mode) override {
    int flags = O_CLOEXEC | (mode == OpenMode::kRead ? O_RDONLY : O_RDWR);
    flags |= mode == OpenMode::kCreate            ? O_CREAT
             : mode == OpenMode::kCreateTruncated ? O_CREAT | O_TRUNC
                                                  : 0;
    const int fd = ::open(path.c_str(), flags, 0644);
    if (fd < 0) {
      return system_error("open " + path);
    }
    return std::make_shared<PosixFile>(fd);
  }
  Result<> rename(const std::string& from, const std::string& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0 ? Result<>() : system_error("rename " + from);
  }
  Result<> remove(const std::string& path) override {
    return ::unlink(path.c_str()) == 0 || errno == ENOENT ? Result<>()
                                                          : system_error("remove " + path);
  }
  Result<> remove_tree(const std::string& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    return error ? system_error("remove " + path, error.value()) : Result<>();
  }
  Result<> make_dirs(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    return error ? system_error("create " + path, error.value()) : Result<>();
  }
  Result<std::vector<std::string>> list(const std::string& folder) override {
    std::error_code error;
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      names.push_back(entry.path().filename().string() + (entry.is_directory() ? "/" : ""));
    }
    if (error) {
      return system_error("list " + folder, error.value());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  Result<uint64_t> size_of(const std::string& path) override {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) {
      return system_error("stat " + path);
    }
    return static_cast<uint64_t>(status.st_size);
  }
  Result<Space> space(const std::string& path) override {
    struct statvfs status{};
    if (::statvfs(path.c_str(), &status) != 0) {
      return system_error("statvfs " + path);
    }
    const auto bytes = [&](uint64_t blocks) {
      return static_cast<int64_t>(blocks * status.f_frsize);
    };
    return Space{bytes(status.f_blocks), bytes(status.f_bavail)};
  }
  bool exists(const std::string& path) override { return ::access(path.c_str(), F_OK) == 0; }
  Result<> sync_dir(const std::string& folder) override {
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
      return system_error("open " + folder);
    }
    const int status = ::fsync(fd);
    ::close(fd);
    return status == 0 ? Result<>() : system_error("sync " + folder);
  }
  Result<std::unique_ptr<DiskLock>> lock(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
      return system_error("open " + path);
    }
    // The reference locks with fcntl; both kinds of program must see each other's lock.
    struct flock region{};
    region.l_type = F_WRLCK;
    region.l_whence = SEEK_SET;
    if (::fcntl(fd, F_SETLK, &region) != 0) {
      ::close(fd);
      return fail(ErrorCode::kKafkaStorageError,
                  path + " is locked: another process uses this directory");
    }
    return std::make_unique<PosixLock>(fd, path);
  }
};

class PosixClock : public Clock {
 public:
  int64_t wall_ms() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  int64_t monotonic_ms() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

class PosixRandom : public Random {
 public:
  uint64_t next() override {
    uint64_t value = 0;
    CHECK_INVARIANT(::getrandom(&value, sizeof value, 0) == sizeof value);
    return value;
  }
};

}  // namespace

std::unique_ptr<Disk> make_posix_disk() { return std::make_unique<PosixDisk>(); }
std::unique_ptr<Clock> make_posix_clock() { return std::make_unique<PosixClock>(); }
std::unique_ptr<Random> make_posix_random() { return std::make_unique<PosixRandom>(); }

}  // namespace klamm::storage
