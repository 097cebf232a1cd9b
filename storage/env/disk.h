#pragma once
// The port through which everything below broker/net meets files. Paths are plain strings with '/'.
// All calls block. Errors carry the system's errno with KAFKA_STORAGE_ERROR, or with
// UNKNOWN_SERVER_ERROR where there is no such file.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/result.h"

namespace klamm::storage {

// An open file. Reading and writing go by position; there is no cursor. Dropping the last reference
// closes it; a file that was removed or renamed meanwhile stays readable through its open
// references.
class File : public protocol::ByteSource {
 public:
  // Writes all parts back to back at `position`, in one call where the system can. After an error
  // the content between `position` and the end of the parts is undefined.
  virtual Result<> write_at(uint64_t position, std::span<const std::span<const uint8_t>> parts) = 0;
  virtual Result<> truncate(uint64_t size) = 0;
  // Content and size are on the medium when this returns.
  virtual Result<> sync() = 0;
  virtual Result<uint64_t> size() const = 0;
  // Takes disk space for [0, size) without changing the file's size. A hint: failure is no error.
  virtual void reserve(uint64_t size) = 0;

  Result<> write_at(uint64_t position, std::span<const uint8_t> part) {
    return write_at(position, std::span<const std::span<const uint8_t>>(&part, 1));
  }
};

// The disk is whole but has no room: the same call may succeed later.
bool is_disk_full(const Error& error);

enum class OpenMode { kRead, kReadWrite, kCreate, kCreateTruncated };

// An exclusive lock on a file, held until destroyed.
class DiskLock {
 public:
  virtual ~DiskLock() = default;
};

class Disk {
 public:
  virtual ~Disk() = default;
  virtual Result<std::shared_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  virtual Result<> rename(const std::string& from, const std::string& to) = 0;  // replaces `to`
  virtual Result<> remove(const std::string& path) = 0;  // a missing file is no error
  virtual Result<> remove_tree(const std::string& path) = 0;
  virtual Result<> make_dirs(const std::string& path) = 0;
  // Names of the entries, sorted; directories end with '/'.
  virtual Result<std::vector<std::string>> list(const std::string& folder) = 0;
  virtual Result<uint64_t> size_of(const std::string& path) = 0;  // of a file
  // Of the file system that `path` lies on, in bytes.
  struct Space {
    int64_t total = -1;
    int64_t usable = -1;
  };
  virtual Result<Space> space(const std::string& path) = 0;
  virtual bool exists(const std::string& path) = 0;
  // Entries created, renamed or removed in `folder` are on the medium when this returns.
  virtual Result<> sync_dir(const std::string& folder) = 0;
  virtual Result<std::unique_ptr<DiskLock>> lock(const std::string& path) = 0;

  Result<std::string> read_file(const std::string& path);
  Result<> write_file(const std::string& path, std::string_view content);
  // Replaces the file so that either the old or the new content is there after a crash.
  Result<> replace_file(const std::string& path, std::string_view content);
};

std::string parent_of(const std::string& path);

}  // namespace klamm::storage
