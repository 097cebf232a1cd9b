#pragma once
// One log directory's view of a disk. The first error that is not want of space, of open files or
// of a name ends its service for good: from then on every call fails. So nobody can repeat a sync
// whose pages the kernel has already given up and believe its success, and no caller can forget to
// report the error. Calls may come from any thread.
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "storage/env/disk.h"

namespace klamm::storage {

class GuardedDisk : public Disk {
 public:
  explicit GuardedDisk(Disk& disk) : disk_(disk), state_(std::make_shared<State>()) {}

  bool failed() const { return state_->failed; }
  // Called once, on the thread that met the error. At once if that has been already.
  void on_failure(const std::function<void(const Error&)>& told);

  Result<std::shared_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<> rename(const std::string& from, const std::string& to) override;
  Result<> remove(const std::string& path) override;
  Result<> remove_tree(const std::string& path) override;
  Result<> make_dirs(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& folder) override;
  Result<uint64_t> size_of(const std::string& path) override;
  Result<Space> space(const std::string& path) override { return disk_.space(path); }
  bool exists(const std::string& path) override { return disk_.exists(path); }
  Result<> sync_dir(const std::string& folder) override;
  // A lock that another process holds is no failure of the disk.
  Result<std::unique_ptr<DiskLock>> lock(const std::string& path) override {
    return disk_.lock(path);
  }

 private:
  friend class GuardedFile;
  struct State {
    std::atomic<bool> failed = false;
    std::mutex mutex;
    Error first;
    std::function<void(const Error&)> told;

    Result<> allow();
    // Judges an outcome. A sync may not even fail for want of space: the pages are lost.
    template <class R>
    R judge(R outcome, bool is_sync = false) {
      if (!outcome) {
        note(outcome.error(), is_sync);
      }
      return outcome;
    }
    void note(const Error& error, bool is_sync);
  };

  Disk& disk_;
  std::shared_ptr<State> state_;
};

}  // namespace klamm::storage
