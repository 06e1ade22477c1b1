#include <trireme/core/fault.h>
#include <trireme/storage/durable.h>
#include <trireme/storage/file_writer.h>

#include "storage/system_calls.h"
#include "storage/write_error.h"

#include <cerrno>
#include <random>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <fmt/core.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace trireme::storage {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// A name beside `path` that nobody else uses: hosts that share the folder may share process ids.
fs::path temporary_name(const fs::path& path) {
  std::random_device random;
  return fs::path(fmt::format("{}.tmp-{:08x}", path.native(), random()));
}

/// Fault site "storage.rename".
void act_out_fault(const fs::path& to) {
  const core::fault::Action action = core::fault::at("storage.rename");
  if (action == core::fault::Action::enospc) throw_write_error(to, "rename", ENOSPC);
  if (action == core::fault::Action::eio) throw_write_error(to, "rename", EIO);
}

void rename_or_throw(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw_write_error(to, "rename", errno);
}

/// Returns whether the file system could do it.
bool exchange_names(const fs::path& a, const fs::path& b) {
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
}

}  // namespace

void sync_directory(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw_write_error(folder, "cannot be opened", errno);
  int error = sync_file(fd);
  // Some network file systems make names durable at once and refuse to be asked.
  if (error == EINVAL || error == ENOTSUP) error = 0;
  const int close_error = close_file(fd);
  if (error != 0) throw_write_error(folder, "fsync", error);
  if (close_error != 0) throw_write_error(folder, "close", close_error);
}

void make_directories(const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return;
  const fs::path parent = folder_of(folder);
  if (parent != folder) make_directories(parent);
  if (!fs::create_directory(folder, error)) {
    const int reason = error ? error.value() : ENOTDIR;
    if (!fs::is_directory(folder, error)) throw_write_error(folder, "cannot be made", reason);
  }
  sync_directory(parent);
}

bool rename_folder(const fs::path& from, const fs::path& to) {
  act_out_fault(to);
  std::error_code error;
  const bool exists = fs::exists(fs::symlink_status(to, error));
  const auto rename_or_exchange = [&](const fs::path& a, const fs::path& b) {
    if (!exists) {
      rename_or_throw(a, b);
    } else if (!exchange_names(a, b)) {
      const fs::path aside = temporary_name(b);
      rename_or_throw(b, aside);
      rename_or_throw(a, b);
      rename_or_throw(aside, a);
    }
  };
  rename_or_exchange(from, to);
  try {
    sync_directory(folder_of(to));
  } catch (...) {
    rename_or_exchange(to, from);  // what may be gone after a crash must not look durable
    throw;
  }
  return exists;
}

void replace_file(const fs::path& path, std::string_view text) {
  const fs::path temporary = temporary_name(path);
  FileWriter file(temporary, static_cast<int64_t>(text.size()));
  file.write(text);
  file.finish();
  try {
    act_out_fault(path);
    rename_or_throw(temporary, path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_directory(folder_of(path));
}

int64_t free_bytes(const fs::path& path) noexcept {
  struct statvfs status {};
  if (::statvfs(path.c_str(), &status) != 0) return -1;
  return static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize);
}

}  // namespace trireme::storage
