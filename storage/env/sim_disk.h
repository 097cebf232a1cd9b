#pragma once
// A disk in memory that fails on purpose.
//
// Fault model:
//  - A killed process loses nothing: what write_at returned for is there (the page cache survives).
//  - A power cut loses unsynced writes. Each write since the last sync() of its file survives
//    whole, in part (torn at any byte) or not at all, on its own: later writes may survive earlier
//    ones. A size change survives only as far as a surviving write reaches.
//  - Names created, renamed or removed since the last sync_dir() of their folder are kept or lost,
//    each on its own, by a power cut; a rename moves its name whole.
//  - Any call may fail: fail_nth(n) makes the n-th changing call from now on fail once, with no
//    effect or, for a write, with a part of it (a short write).
//  - A full disk (set_capacity) fails what needs more room, with a part of a write done.
//  - A medium that lies (lie_about_syncs) reports a sync that it has not done.
//  - Bit rot: flip_bit.
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/env/clock.h"
#include "storage/env/disk.h"

namespace klamm::storage {

class SimDisk : public Disk {
 public:
  explicit SimDisk(uint64_t seed = 1) : random_(seed) {}

  Result<std::shared_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<> rename(const std::string& from, const std::string& to) override;
  Result<> remove(const std::string& path) override;
  Result<> remove_tree(const std::string& path) override;
  Result<> make_dirs(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& folder) override;
  Result<uint64_t> size_of(const std::string& path) override;
  Result<Space> space(const std::string&) override {
    return Space{static_cast<int64_t>(capacity_ / 2), static_cast<int64_t>(capacity_ / 2 - used())};
  }
  bool exists(const std::string& path) override;
  Result<> sync_dir(const std::string& folder) override;
  Result<std::unique_ptr<DiskLock>> lock(const std::string& path) override;

  // Applies the fault model above; open files become useless.
  void cut_power();
  // The n-th changing call (1 is the next one) fails with this errno; 0 never.
  void fail_nth(int n, int system = 5 /* EIO */) {
    countdown_ = n;
    system_ = system;
  }
  // Bytes of all files together that there is room for.
  void set_capacity(uint64_t bytes) { capacity_ = bytes; }
  // Every change below this folder fails with EIO; an empty name: none.
  void fail_below(const std::string& folder) { broken_ = folder; }
  void lie_about_syncs(bool lies) { lies_ = lies; }
  // Changing calls so far.
  int changes() const { return changes_; }
  // Flips one bit of a file's content.
  void flip_bit(const std::string& path, uint64_t byte, int bit);

 private:
  friend class SimFile;
  struct Write {
    uint64_t position;
    std::vector<uint8_t> bytes;
    bool truncates = false;  // position is the new size
  };
  struct Inode {
    std::vector<uint8_t> content;
    std::vector<uint8_t> durable;
    std::vector<Write> unsynced;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;

  Result<> change(const char* what, const std::string& path);
  uint64_t used() const;
  void keep_some_names();
  static void apply(std::vector<uint8_t>& content, const Write& write);

  Names names_;
  Names durable_names_;
  std::map<std::string, bool> folders_;
  SimRandom random_;
  int countdown_ = 0;
  int system_ = 0;
  uint64_t capacity_ = UINT64_MAX;
  bool lies_ = false;
  std::string broken_;
  int changes_ = 0;
};

}  // namespace klamm::storage
