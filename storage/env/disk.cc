#include "storage/env/disk.h"

#include <cerrno>

namespace klamm::storage {

bool is_disk_full(const Error& error) { return error.system == ENOSPC || error.system == EDQUOT; }

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

Result<std::string> Disk::read_file(const std::string& path) {
  TRY(const auto file, open(path, OpenMode::kRead));
  TRY(const uint64_t size, file->size());
  std::string content(size, '\0');
  TRY(const size_t got,
      file->read_at(0, {reinterpret_cast<uint8_t*>(content.data()), content.size()}));
  content.resize(got);
  return content;
}

Result<> Disk::write_file(const std::string& path, std::string_view content) {
  TRY(const auto file, open(path, OpenMode::kCreateTruncated));
  return file->write_at(0, {reinterpret_cast<const uint8_t*>(content.data()), content.size()});
}

Result<> Disk::replace_file(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp";
  {
    TRY(const auto file, open(temporary, OpenMode::kCreateTruncated));
    TRY_VOID(file->write_at(0, {reinterpret_cast<const uint8_t*>(content.data()), content.size()}));
    TRY_VOID(file->sync());
  }
  TRY_VOID(rename(temporary, path));
  return sync_dir(parent_of(path));
}

}  // namespace klamm::storage
