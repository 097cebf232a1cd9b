#include "storage/env/guarded_disk.h"

#include <cerrno>

namespace klamm::storage {

Result<> GuardedDisk::State::allow() {
  if (!failed) {
    return {};
  }
  const std::lock_guard lock(mutex);
  return fail(ErrorCode::kKafkaStorageError, "the log directory is offline: " + first.why);
}

void GuardedDisk::State::note(const Error& error, bool is_sync) {
  const bool is_shortage = is_disk_full(error) || error.system == EMFILE ||
                           error.system == ENFILE || error.system == ENOMEM;
  if (error.code != ErrorCode::kKafkaStorageError || (is_shortage && !is_sync)) {
    return;
  }
  std::function<void(const Error&)> tell;
  {
    const std::lock_guard lock(mutex);
    if (failed) {
      return;
    }
    first = error;
    failed = true;
    tell = told;
  }
  if (tell) {
    tell(error);
  }
}

class GuardedFile : public File {
 public:
  GuardedFile(std::shared_ptr<GuardedDisk::State> state, std::shared_ptr<File> file)
      : state_(std::move(state)), file_(std::move(file)) {}

  Result<size_t> read_at(uint64_t position, std::span<uint8_t> into) const override {
    TRY_VOID(state_->allow());
    return state_->judge(file_->read_at(position, into));
  }
  Result<std::optional<size_t>> read_cached(uint64_t position,
                                            std::span<uint8_t> into) const override {
    TRY_VOID(state_->allow());
    return state_->judge(file_->read_cached(position, into));
  }
  std::optional<int> cached_file(uint64_t position, size_t size) const override {
    return file_->cached_file(position, size);
  }
  Result<bool> bring_to_cache(uint64_t position, size_t size) const override {
    TRY_VOID(state_->allow());
    return state_->judge(file_->bring_to_cache(position, size));
  }
  Result<> write_at(uint64_t position, std::span<const std::span<const uint8_t>> parts) override {
    TRY_VOID(state_->allow());
    return state_->judge(file_->write_at(position, parts));
  }
  Result<> truncate(uint64_t size) override {
    TRY_VOID(state_->allow());
    return state_->judge(file_->truncate(size));
  }
  Result<> sync() override {
    TRY_VOID(state_->allow());
    return state_->judge(file_->sync(), true);
  }
  Result<uint64_t> size() const override { return state_->judge(file_->size()); }
  void reserve(uint64_t size) override { file_->reserve(size); }

 private:
  std::shared_ptr<GuardedDisk::State> state_;
  std::shared_ptr<File> file_;
};

void GuardedDisk::on_failure(const std::function<void(const Error&)>& told) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->told = told;
    if (!state_->failed) {
      return;
    }
  }
  told(state_->first);
}

Result<std::shared_ptr<File>> GuardedDisk::open(const std::string& path, OpenMode mode) {
  TRY_VOID(state_->allow());
  TRY(auto file, state_->judge(disk_.open(path, mode)));
  return std::make_shared<GuardedFile>(state_, std::move(file));
}
Result<> GuardedDisk::rename(const std::string& from, const std::string& to) {
  TRY_VOID(state_->allow());
  return state_->judge(disk_.rename(from, to));
}
Result<> GuardedDisk::remove(const std::string& path) {
  TRY_VOID(state_->allow());
  return state_->judge(disk_.remove(path));
}
Result<> GuardedDisk::remove_tree(const std::string& path) {
  TRY_VOID(state_->allow());
  return state_->judge(disk_.remove_tree(path));
}
Result<> GuardedDisk::make_dirs(const std::string& path) {
  TRY_VOID(state_->allow());
  return state_->judge(disk_.make_dirs(path));
}
Result<std::vector<std::string>> GuardedDisk::list(const std::string& folder) {
  TRY_VOID(state_->allow());
  return state_->judge(disk_.list(folder));
}
Result<uint64_t> GuardedDisk::size_of(const std::string& path) {
  TRY_VOID(state_->allow());
  return state_->judge(disk_.size_of(path));
}
Result<> GuardedDisk::sync_dir(const std::string& folder) {
  TRY_VOID(state_->allow());
  return state_->judge(disk_.sync_dir(folder), true);
}

}  // namespace klamm::storage
