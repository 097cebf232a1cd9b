#include "storage/env/sim_disk.h"

#include <algorithm>
#include <cerrno>
#include <set>

namespace klamm::storage {

class SimFile : public File {
 public:
  SimFile(SimDisk& disk, std::shared_ptr<SimDisk::Inode> inode, std::string path)
      : disk_(disk), inode_(std::move(inode)), path_(std::move(path)) {}

  Result<size_t> read_at(uint64_t position, std::span<uint8_t> into) const override {
    const auto& content = inode_->content;
    if (position >= content.size()) {
      return size_t{0};
    }
    const size_t size = std::min<size_t>(into.size(), content.size() - position);
    std::copy_n(content.begin() + static_cast<ptrdiff_t>(position), size, into.begin());
    return size;
  }
  Result<> write_at(uint64_t position, std::span<const std::span<const uint8_t>> parts) override {
    SimDisk::Write write{position, {}};
    for (const auto part : parts) {
      write.bytes.insert(write.bytes.end(), part.begin(), part.end());
    }
    auto allowed = disk_.change("write", path_);
    const uint64_t end = position + write.bytes.size();
    if (allowed && end > inode_->content.size() &&
        disk_.used() + end - inode_->content.size() > disk_.capacity_) {
      allowed = fail(ErrorCode::kKafkaStorageError, "write: no space left", ENOSPC);
    }
    if (!allowed) {
      write.bytes.resize(write.bytes.empty() ? 0 : disk_.random_.next() % write.bytes.size());
    }
    SimDisk::apply(inode_->content, write);
    inode_->unsynced.push_back(std::move(write));
    return allowed;
  }
  Result<> truncate(uint64_t size) override {
    TRY_VOID(disk_.change("truncate", path_));
    SimDisk::Write write{size, {}, true};
    SimDisk::apply(inode_->content, write);
    inode_->unsynced.push_back(std::move(write));
    return {};
  }
  Result<> sync() override {
    TRY_VOID(disk_.change("sync", path_));
    if (disk_.lies_) {
      return {};
    }
    inode_->durable = inode_->content;
    inode_->unsynced.clear();
    return {};
  }
  Result<uint64_t> size() const override { return inode_->content.size(); }
  void reserve(uint64_t) override {}

 private:
  SimDisk& disk_;
  std::shared_ptr<SimDisk::Inode> inode_;
  std::string path_;
};

void SimDisk::apply(std::vector<uint8_t>& content, const Write& write) {
  if (write.truncates) {
    content.resize(write.position);
    return;
  }
  if (write.bytes.empty()) {
    return;
  }
  content.resize(std::max<size_t>(content.size(), write.position + write.bytes.size()));
  std::copy(write.bytes.begin(), write.bytes.end(),
            content.begin() + static_cast<ptrdiff_t>(write.position));
}

Result<> SimDisk::change(const char* what, const std::string& path) {
  ++changes_;
  if (!broken_.empty() && path.starts_with(broken_ + "/")) {
    return fail(ErrorCode::kKafkaStorageError, std::string("simulated failure of ") + what, EIO);
  }
  if (countdown_ > 0 && --countdown_ == 0) {
    return fail(ErrorCode::kKafkaStorageError, std::string("simulated failure of ") + what,
                system_);
  }
  return {};
}

uint64_t SimDisk::used() const {
  uint64_t bytes = 0;
  for (const auto& [path, inode] : names_) {
    bytes += inode->content.size();
  }
  return bytes;
}

Result<std::shared_ptr<File>> SimDisk::open(const std::string& path, OpenMode mode) {
  auto found = names_.find(path);
  if (found == names_.end()) {
    if (mode == OpenMode::kRead || mode == OpenMode::kReadWrite) {
      return fail(ErrorCode::kUnknownServerError, "open " + path + ": no such file");
    }
    TRY_VOID(change("create", path));
    if (used() >= capacity_) {
      return fail(ErrorCode::kKafkaStorageError, "create " + path + ": no space left", ENOSPC);
    }
    found = names_.emplace(path, std::make_shared<Inode>()).first;
  } else if (mode == OpenMode::kCreateTruncated) {
    TRY_VOID(change("truncate", path));
    apply(found->second->content, {0, {}, true});
    found->second->unsynced.push_back({0, {}, true});
  }
  return std::make_shared<SimFile>(*this, found->second, path);
}

Result<> SimDisk::rename(const std::string& from, const std::string& to) {
  TRY_VOID(change("rename", from));
  Names moved;
  for (auto it = names_.begin(); it != names_.end();) {
    if (it->first == from || it->first.starts_with(from + "/")) {
      moved[to + it->first.substr(from.size())] = it->second;
      it = names_.erase(it);
    } else {
      ++it;
    }
  }
  if (folders_.erase(from) > 0) {
    folders_[to] = true;
  } else if (moved.empty()) {
    return fail(ErrorCode::kUnknownServerError, "rename " + from + ": no such file");
  }
  for (auto& [name, inode] : moved) {
    names_[name] = inode;
  }
  return {};
}

Result<> SimDisk::remove(const std::string& path) {
  TRY_VOID(change("remove", path));
  names_.erase(path);
  return {};
}

Result<> SimDisk::remove_tree(const std::string& path) {
  TRY_VOID(change("remove", path));
  std::erase_if(names_, [&](const auto& entry) { return entry.first.starts_with(path + "/"); });
  std::erase_if(folders_, [&](const auto& entry) {
    return entry.first == path || entry.first.starts_with(path + "/");
  });
  return {};
}

Result<> SimDisk::make_dirs(const std::string& path) {
  folders_[path] = true;
  return {};
}

Result<std::vector<std::string>> SimDisk::list(const std::string& folder) {
  std::set<std::string> found;
  const std::string prefix = folder + "/";
  const auto add = [&](const std::string& path, bool is_folder) {
    if (path.starts_with(prefix)) {
      const std::string rest = path.substr(prefix.size());
      const size_t slash = rest.find('/');
      found.insert(slash != std::string::npos ? rest.substr(0, slash + 1)
                                              : rest + (is_folder ? "/" : ""));
    }
  };
  for (const auto& [path, inode] : names_) {
    add(path, false);
  }
  for (const auto& [path, unused] : folders_) {
    add(path, true);
  }
  if (found.empty() && !folders_.contains(folder)) {
    return fail(ErrorCode::kUnknownServerError, "list " + folder + ": no such folder", ENOENT);
  }
  return std::vector<std::string>(found.begin(), found.end());
}

Result<uint64_t> SimDisk::size_of(const std::string& path) {
  const auto found = names_.find(path);
  if (found == names_.end()) {
    return fail(ErrorCode::kUnknownServerError, "stat " + path + ": no such file", ENOENT);
  }
  return found->second->content.size();
}

bool SimDisk::exists(const std::string& path) {
  return names_.contains(path) || folders_.contains(path);
}

Result<> SimDisk::sync_dir(const std::string& folder) {
  TRY_VOID(change("sync of a folder", folder + "/"));
  if (lies_) {
    return {};
  }
  const auto inside = [&](const auto& entry) { return parent_of(entry.first) == folder; };
  std::erase_if(durable_names_, inside);
  for (const auto& entry : names_) {
    if (inside(entry)) {
      durable_names_.insert(entry);
    }
  }
  return {};
}

Result<std::unique_ptr<DiskLock>> SimDisk::lock(const std::string&) {
  return std::make_unique<DiskLock>();
}

// Names that stand where the folder's last sync left them, but for those changes that happened to
// reach the medium: every new or newly bound name may be there, every one that went may be gone. A
// name that a rename took away goes only if the one that it became is kept.
void SimDisk::keep_some_names() {
  Names kept = durable_names_;
  std::set<const Inode*> moved;
  for (const auto& [path, inode] : names_) {
    const auto before = durable_names_.find(path);
    if ((before == durable_names_.end() || before->second != inode) && random_.next() % 2 == 0) {
      kept[path] = inode;
      moved.insert(inode.get());
    }
  }
  for (const auto& [path, inode] : durable_names_) {
    if (names_.contains(path)) {
      continue;
    }
    const bool was_renamed = std::any_of(names_.begin(), names_.end(),
                                         [&](const auto& entry) { return entry.second == inode; });
    if (was_renamed ? moved.contains(inode.get()) : random_.next() % 2 == 0) {
      kept.erase(path);
    }
  }
  names_ = durable_names_ = std::move(kept);
}

void SimDisk::cut_power() {
  keep_some_names();
  for (auto& [name, inode] : names_) {
    folders_[parent_of(name)] = true;  // also one whose new name has not reached the medium
    // Writes that never reached the medium leave the durable content with some of them applied,
    // whole or in part.
    std::vector<uint8_t> content = inode->durable;
    for (Write write : inode->unsynced) {
      const uint64_t fate = random_.next() % 4;
      if (fate == 0) {
        continue;
      }
      if (fate == 1 && !write.bytes.empty()) {
        write.bytes.resize(random_.next() % write.bytes.size());
      }
      apply(content, write);
    }
    *inode = {content, content, {}};
  }
}

void SimDisk::flip_bit(const std::string& path, uint64_t byte, int bit) {
  names_.at(path)->content.at(byte) ^= static_cast<uint8_t>(1 << bit);
}

}  // namespace klamm::storage
