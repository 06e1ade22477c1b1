#include <trireme/storage/durable.h>
#include <trireme/storage/file_writer.h>

#include "storage/system_calls.h"
#include "storage/write_error.h"

#include <cerrno>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <fmt/core.h>
#include <stdio.h>
#include <sys/stat.h>
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

bool is_temporary(const std::string& name) {
  const size_t mark = name.rfind(".tmp-");
  return mark != std::string::npos && mark + 13 == name.size() &&
         name.find_first_not_of("0123456789abcdef", mark + 5) == std::string::npos;
}

/// Fault site "storage.rename".
void rename_or_throw(const fs::path& from, const fs::path& to) {
  int error = fault_at("storage.rename");
  if (error == 0 && ::rename(from.c_str(), to.c_str()) != 0) error = errno;
  if (error != 0) throw_write_error(to, "rename", error);
}

/// Returns whether the file system could do it. Fault sites "storage.exchange", for one that
/// cannot, and "storage.rename".
bool exchange_names(const fs::path& a, const fs::path& b) {
  if (fault_at("storage.exchange") != 0) return false;
  if (const int error = fault_at("storage.rename")) throw_write_error(b, "rename", error);
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
}

/// The same in three steps, each durable before the next, all undone by a failure.
void exchange_by_renames(const fs::path& a, const fs::path& b) {
  const fs::path aside = b.native() + replaced_suffix;
  (void)remove_tree(aside);
  rename_or_throw(b, aside);
  try {
    sync_directory(folder_of(b));
    rename_or_throw(a, b);
  } catch (...) {
    (void)::rename(aside.c_str(), b.c_str());
    throw;
  }
  try {
    sync_directory(folder_of(b));
    rename_or_throw(aside, a);
  } catch (...) {
    if (::rename(b.c_str(), a.c_str()) == 0) (void)::rename(aside.c_str(), b.c_str());
    throw;
  }
}

/// Returns 0 or errno. Fault site "storage.mkdir".
int make_folder(const fs::path& folder) {
  if (const int error = fault_at("storage.mkdir")) return error;
  return ::mkdir(folder.c_str(), 0777) == 0 ? 0 : errno;
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
  if (const int reason = make_folder(folder); reason != 0 && !fs::is_directory(folder, error))
    throw_write_error(folder, "cannot be made", reason);
  sync_directory(parent);
}

void make_new_folder(const fs::path& folder) {
  if (const int error = make_folder(folder)) throw_write_error(folder, "cannot be made", error);
}

bool remove_tree(const fs::path& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return false;
    throw_write_error(path, "cannot be removed", errno);
  }
  const bool folder = S_ISDIR(status.st_mode);
  if (folder) {
    std::vector<fs::path> inside;
    std::error_code error;
    for (fs::directory_iterator entry(path, error), end; !error && entry != end;
         entry.increment(error))
      inside.push_back(entry->path());
    if (error) throw_write_error(path, "cannot be removed", error.value());
    for (const fs::path& one : inside) (void)remove_tree(one);
  }
  int error = fault_at("storage.unlink");
  if (error == 0 && (folder ? ::rmdir : ::unlink)(path.c_str()) != 0) error = errno;
  if (error != 0 && error != ENOENT) throw_write_error(path, "cannot be removed", error);
  return true;
}

bool rename_folder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  const bool exists = fs::exists(fs::symlink_status(to, error));
  const auto rename_or_exchange = [&](const fs::path& a, const fs::path& b) {
    if (!exists)
      rename_or_throw(a, b);
    else if (!exchange_names(a, b))
      exchange_by_renames(a, b);
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
    rename_or_throw(temporary, path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_directory(folder_of(path));
}

void remove_temporaries(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> stale;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    if (is_temporary(entry->path().filename().native()) && entry->is_regular_file(error))
      stale.push_back(entry->path());
  for (const fs::path& one : stale) (void)remove_tree(one);
}

int64_t free_bytes(const fs::path& path) noexcept {
  struct statvfs status {};
  if (::statvfs(path.c_str(), &status) != 0) return -1;
  return static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize);
}

}  // namespace trireme::storage
