#pragma once
// A disk in memory that fails on purpose.
//
// Fault model:
//  - A killed process loses nothing: what write_at returned for is there (the page cache survives).
//  - A power cut loses unsynced writes. Each write since the last sync() of its file survives
//  whole, in part (torn at
//    any byte) or not at all, independently of the others, so later writes may survive earlier
//    ones. A size change survives only as far as a surviving write reaches.
//  - Created, renamed and removed names are kept by a power cut only after sync_dir() of their
//  folder.
//  - Any call may fail: fail_nth(n) makes the n-th changing call from now on fail once, with
//  nothing or (for a write)
//    a part of its effect.
// Not modelled yet: bit rot, a sync that lies.
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
  bool exists(const std::string& path) override;
  Result<> sync_dir(const std::string& folder) override;
  Result<std::unique_ptr<DiskLock>> lock(const std::string& path) override;

  // Applies the fault model above; open files become useless.
  void cut_power();
  // The n-th changing call (1 is the next one) fails; 0 never.
  void fail_nth(int n) { countdown_ = n; }
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

  Result<> change(const char* what);
  static void apply(std::vector<uint8_t>& content, const Write& write);

  Names names_;
  Names durable_names_;
  std::map<std::string, bool> folders_;
  SimRandom random_;
  int countdown_ = 0;
  int changes_ = 0;
};

}  // namespace klamm::storage
