#pragma once

// For one .cpp of a program: it defines functions of libc.

#include "unit/checkpoint/disk_gate.h"

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace trireme::test {

/// A file, or a folder with what its names stand for. Nodes are numbered; 0 is the outermost
/// folder.
struct DiskNode {
  bool folder = false;
  std::string bytes;
  std::map<std::string, size_t> names;
};

/// A tree of nodes; those without a name are of no account.
struct Disk {
  std::vector<DiskNode> nodes;

  static Disk read(const std::filesystem::path& folder) {
    Disk disk;
    disk.add(folder);
    return disk;
  }
  void make_real(const std::filesystem::path& path, size_t node = 0) const {
    const DiskNode& one = nodes[node];
    if (!one.folder) {
      std::ofstream(path, std::ios::binary) << one.bytes;
      return;
    }
    std::filesystem::create_directory(path);
    for (const auto& [name, inside] : one.names) make_real(path / name, inside);
  }
  /// Equal for equal trees.
  [[nodiscard]] std::string text(size_t node = 0) const {
    const DiskNode& one = nodes[node];
    if (!one.folder) return std::to_string(one.bytes.size()) + ":" + one.bytes;
    std::string text = "{";
    for (const auto& [name, inside] : one.names) text += name + "=" + this->text(inside) + ",";
    return text + "}";
  }

 private:
  size_t add(const std::filesystem::path& path) {
    const size_t node = nodes.size();
    nodes.push_back({.folder = std::filesystem::is_directory(path), .bytes = {}, .names = {}});
    if (!nodes[node].folder) {
      std::ifstream file(path, std::ios::binary);
      nodes[node].bytes.assign(std::istreambuf_iterator<char>(file), {});
      return node;
    }
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      const size_t inside = add(entry.path());
      nodes[node].names[entry.path().filename().native()] = inside;
    }
    return node;
  }
};

/// Something that the process did to the disk.
struct DiskChange {
  enum class Kind { write, sync, names };
  struct Name {
    size_t folder;
    std::string name;
    std::optional<size_t> node;  ///< nothing: it is gone
  };
  Kind kind;
  size_t node = 0;          ///< of write and sync
  std::string bytes;        ///< of write: they follow what is there
  std::vector<Name> names;  ///< change together or not at all
};

/// A disk and what was done to it.
struct DiskRecord {
  Disk before;
  Disk now;  ///< after all changes
  std::vector<DiskChange> changes;
};

/// Records what this process does below a folder while it lives, whichever code does it: the calls
/// of libc that change names and contents are defined below. One at a time; files are written from
/// front to end.
class DiskRecorder {
 public:
  explicit DiskRecorder(const std::filesystem::path& folder)
      : root_(folder), record_{Disk::read(folder), Disk::read(folder), {}} {
    current() = this;
  }
  ~DiskRecorder() { current() = nullptr; }
  DiskRecorder(const DiskRecorder&) = delete;
  DiskRecorder& operator=(const DiskRecorder&) = delete;

  [[nodiscard]] const DiskRecord& record() const { return record_; }

  static std::recursive_mutex& mutex() {
    static std::recursive_mutex one;
    return one;
  }
  static DiskRecorder*& current() {
    static DiskRecorder* one = nullptr;
    return one;
  }

  struct Place {
    size_t folder;
    std::string name;
  };
  /// Where a path lies; nothing if not below the folder.
  [[nodiscard]] std::optional<Place> place(const std::filesystem::path& path) const {
    const auto inside = path.lexically_normal().lexically_relative(root_);
    if (inside.empty() || inside.native() == "." || inside.native().starts_with("..")) return {};
    Place place{0, {}};
    for (const auto& part : inside) {
      if (!place.name.empty()) {
        const auto next = record_.now.nodes[place.folder].names.find(place.name);
        if (next == record_.now.nodes[place.folder].names.end()) return {};
        place.folder = next->second;
      }
      place.name = part.native();
    }
    return place;
  }
  [[nodiscard]] std::optional<size_t> node(const std::filesystem::path& path) const {
    if (path.lexically_normal() == root_) return 0;
    const auto there = place(path);
    if (!there) return {};
    const auto& names = record_.now.nodes[there->folder].names;
    const auto found = names.find(there->name);
    return found == names.end() ? std::nullopt : std::optional(found->second);
  }

  void opened(int fd, const std::filesystem::path& path) {
    if (const auto opened = node(path)) descriptors_[fd] = *opened;
  }
  void closed(int fd) { descriptors_.erase(fd); }
  void made(const std::filesystem::path& path, bool folder) {
    const auto there = place(path);
    if (!there) return;
    record_.now.nodes.push_back({.folder = folder, .bytes = {}, .names = {}});
    rename({{there->folder, there->name, record_.now.nodes.size() - 1}});
  }
  void rename(std::vector<DiskChange::Name> names) {
    apply(names, record_.now);
    record_.changes.push_back({DiskChange::Kind::names, 0, {}, std::move(names)});
  }
  void written(int fd, const void* data, size_t bytes) {
    const auto found = descriptors_.find(fd);
    if (found == descriptors_.end()) return;
    const std::string text(static_cast<const char*>(data), bytes);
    record_.now.nodes[found->second].bytes += text;
    record_.changes.push_back({DiskChange::Kind::write, found->second, text, {}});
  }
  void synced(int fd) {
    const auto found = descriptors_.find(fd);
    if (found != descriptors_.end())
      record_.changes.push_back({DiskChange::Kind::sync, found->second, {}, {}});
  }

  static void apply(const std::vector<DiskChange::Name>& names, Disk& disk) {
    for (const DiskChange::Name& one : names) {
      if (one.node)
        disk.nodes[one.folder].names[one.name] = *one.node;
      else
        disk.nodes[one.folder].names.erase(one.name);
    }
  }

 private:
  const std::filesystem::path root_;
  DiskRecord record_;
  std::map<int, size_t> descriptors_;
};

/// What a power cut after the first `count` changes may leave: what was synced stays; of the rest,
/// names are kept with the probability `keep_names`, and contents with `keep_bytes`, in any
/// combination and order, else cut short or filled with zeros.
inline Disk after_power_cut(const DiskRecord& recorded, size_t count, double keep_names,
                            double keep_bytes, std::mt19937_64& random) {
  const auto& changes = recorded.changes;
  const auto chance = [&](double p) {
    return p >= 1 || (p > 0 && std::uniform_real_distribution<>()(random) < p);
  };
  Disk disk = recorded.before;
  disk.nodes.resize(recorded.now.nodes.size());
  for (size_t i = 0; i < disk.nodes.size(); ++i)
    disk.nodes[i].folder = recorded.now.nodes[i].folder;
  std::vector<size_t> durable(disk.nodes.size());
  for (size_t i = 0; i < durable.size(); ++i) durable[i] = disk.nodes[i].bytes.size();
  for (size_t i = 0; i < count; ++i) {
    const DiskChange& change = changes[i];
    if (change.kind == DiskChange::Kind::write) disk.nodes[change.node].bytes += change.bytes;
    if (change.kind == DiskChange::Kind::sync)
      durable[change.node] = disk.nodes[change.node].bytes.size();
    if (change.kind != DiskChange::Kind::names) continue;
    bool stays = false;
    for (size_t later = i + 1; later < count && !stays; ++later)
      stays = changes[later].kind == DiskChange::Kind::sync &&
              std::ranges::any_of(change.names, [&](const DiskChange::Name& name) {
                return name.folder == changes[later].node;
              });
    if (stays || chance(keep_names)) DiskRecorder::apply(change.names, disk);
  }
  for (size_t i = 0; i < durable.size(); ++i) {
    std::string& bytes = disk.nodes[i].bytes;
    if (bytes.size() == durable[i] || chance(keep_bytes)) continue;
    const size_t length =
        keep_bytes <= 0 ? durable[i]
                        : std::uniform_int_distribution<size_t>(durable[i], bytes.size())(random);
    if (keep_bytes > 0 && random() % 2 == 0)  // the size came to the disk before the contents
      std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(length), bytes.end(), '\0');
    else
      bytes.resize(length);
  }
  return disk;
}

}  // namespace trireme::test

// In front of libc's: what the program's own code and the C++ library call.
extern "C" {

inline int trireme_test_open(const char* path, int flags, mode_t mode) {
  using trireme::test::DiskRecorder;
  trireme::test::DiskGate::pass(path);
  const std::lock_guard lock(DiskRecorder::mutex());
  DiskRecorder* recorder = DiskRecorder::current();
  const bool there = recorder == nullptr || ::syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
  const auto fd = static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
  if (fd >= 0 && recorder != nullptr) {
    if (!there) recorder->made(path, /*folder=*/false);
    recorder->opened(fd, path);
  }
  return fd;
}

int open(const char* path, int flags, ...) {
  std::va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return trireme_test_open(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  std::va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return trireme_test_open(path, flags, mode);
}

int close(int fd) {
  using trireme::test::DiskRecorder;
  const std::lock_guard lock(DiskRecorder::mutex());
  if (DiskRecorder::current() != nullptr) DiskRecorder::current()->closed(fd);
  return static_cast<int>(::syscall(SYS_close, fd));
}

ssize_t write(int fd, const void* data, size_t bytes) {
  using trireme::test::DiskRecorder;
  const std::lock_guard lock(DiskRecorder::mutex());
  const ssize_t written = ::syscall(SYS_write, fd, data, bytes);
  if (written > 0 && DiskRecorder::current() != nullptr)
    DiskRecorder::current()->written(fd, data, static_cast<size_t>(written));
  return written;
}

int fsync(int fd) {
  using trireme::test::DiskRecorder;
  const std::lock_guard lock(DiskRecorder::mutex());
  const auto result = static_cast<int>(::syscall(SYS_fsync, fd));
  if (result == 0 && DiskRecorder::current() != nullptr) DiskRecorder::current()->synced(fd);
  return result;
}

int mkdir(const char* path, mode_t mode) noexcept {
  using trireme::test::DiskRecorder;
  const std::lock_guard lock(DiskRecorder::mutex());
  const auto result = static_cast<int>(::syscall(SYS_mkdirat, AT_FDCWD, path, mode));
  if (result == 0 && DiskRecorder::current() != nullptr)
    DiskRecorder::current()->made(path, /*folder=*/true);
  return result;
}

inline int trireme_test_remove(const char* path, int flags) {
  using trireme::test::DiskRecorder;
  const std::lock_guard lock(DiskRecorder::mutex());
  const auto result = static_cast<int>(::syscall(SYS_unlinkat, AT_FDCWD, path, flags));
  DiskRecorder* recorder = DiskRecorder::current();
  if (result == 0 && recorder != nullptr)
    if (const auto place = recorder->place(path))
      recorder->rename({{place->folder, place->name, {}}});
  return result;
}

int unlink(const char* path) noexcept {
  return trireme_test_remove(path, 0);
}

int rmdir(const char* path) noexcept {
  return trireme_test_remove(path, AT_REMOVEDIR);
}

inline int trireme_test_rename(const char* from, const char* to, unsigned flags) {
  using trireme::test::DiskRecorder;
  const std::lock_guard lock(DiskRecorder::mutex());
  const auto result =
      static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags));
  DiskRecorder* recorder = DiskRecorder::current();
  if (result != 0 || recorder == nullptr) return result;
  const auto a = recorder->place(from), b = recorder->place(to);
  if (a && b) {
    const bool exchange = (flags & RENAME_EXCHANGE) != 0;
    recorder->rename({{a->folder, a->name, exchange ? recorder->node(to) : std::nullopt},
                      {b->folder, b->name, recorder->node(from)}});
  }
  return result;
}

int rename(const char* from, const char* to) noexcept {
  return trireme_test_rename(from, to, 0);
}

int renameat2(int, const char* from, int, const char* to, unsigned flags) noexcept {
  return trireme_test_rename(from, to, flags);
}

}  // extern "C"
