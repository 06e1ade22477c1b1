#include "app/new_output.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <system_error>

#include <fmt/core.h>
#include <unistd.h>

#include <trireme/core/error.h>
#include <trireme/storage/durable.h>

namespace trireme::app {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

[[noreturn]] void refuse(const fs::path& path, const std::string& what, const std::string& hint) {
  throw Error(ErrorKind::usage, path.native() + ": " + what, hint);
}

void check_replaceable(const fs::path& path, NewOutput::Kind kind, bool replace, const std::vector<std::string>& own_names) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error))) return;
  if (!replace) refuse(path, "exists already", "choose another name, or replace it with --force");
  if (kind == NewOutput::Kind::file) {
    if (!fs::is_regular_file(fs::symlink_status(path, error))) refuse(path, "is no file that could be replaced", "choose another name");
    return;
  }
  if (!fs::is_directory(fs::symlink_status(path, error))) refuse(path, "is no folder that could be replaced", "choose another name");
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().native();
    if (std::find(own_names.begin(), own_names.end(), name) == own_names.end())
      refuse(path, fmt::format("holds '{}', which is not replaced", name), "choose another name, or move it away");
  }
}

/// OUT.tmp-<host>-<pid>: folders are shared by machines that have the same process numbers.
std::string temporary_prefix(const fs::path& path) {
  std::array<char, 256> host{};
  (void)::gethostname(host.data(), host.size() - 1);
  return fmt::format("{}.tmp-{}-", path.filename().native(), host.data());
}

/// Removes what processes of this machine began for the same output that are dead by now.
void remove_stale(const fs::path& folder, const std::string& prefix) {
  std::vector<fs::path> stale;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().native();
    if (!name.starts_with(prefix)) continue;
    pid_t pid = 0;
    const auto [last, problem] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), pid);
    const bool ours = problem == std::errc{} && last == name.data() + name.size() && pid > 0;
    if (ours && (pid == ::getpid() || (::kill(pid, 0) != 0 && errno == ESRCH))) stale.push_back(entry->path());
  }
  for (const fs::path& one : stale) fs::remove_all(one, error);
}

}  // namespace

NewOutput::NewOutput(const fs::path& path, Kind kind, bool replace, const std::vector<std::string>& own_names)
    : path_(path.has_filename() ? path : path.parent_path()), kind_(kind), replace_(replace) {
  if (path_.empty()) refuse(path, "is no name for an output", "name a file or a folder");
  check_replaceable(path_, kind, replace, own_names);
  std::error_code error;
  if (!fs::is_directory(folder_of(path_), error))
    throw Error(ErrorKind::storage, folder_of(path_).native() + ": No such directory", "make the folder that the output goes into");
  const std::string prefix = temporary_prefix(path_);
  remove_stale(folder_of(path_), prefix);
  temporary_ = folder_of(path_) / fmt::format("{}{}", prefix, ::getpid());
  if (kind_ == Kind::folder && !fs::create_directory(temporary_, error))  // what is durable in the end is its last name
    throw Error(ErrorKind::storage, fmt::format("{}: cannot be made: {}", temporary_.native(), error.message()),
                "check permissions and free space of the folder");
}

NewOutput::~NewOutput() {
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);  // unfinished, or what had the name before
}

void NewOutput::commit() {
  if (kind_ == Kind::folder) {
    storage::sync_directory(temporary_);
    (void)storage::rename_folder(temporary_, path_);
    return;
  }
  std::error_code error;
  const bool exists = fs::exists(fs::symlink_status(path_, error));
  if (exists && !replace_) refuse(path_, "was made by somebody else in the meantime", "choose another name");
  fs::rename(temporary_, path_, error);
  if (error) throw Error(ErrorKind::storage, fmt::format("{}: rename: {}", path_.native(), error.message()), "try again");
  try {
    storage::sync_directory(folder_of(path_));
  } catch (...) {
    if (!exists) fs::remove(path_, error);
    throw;
  }
}

}  // namespace trireme::app
