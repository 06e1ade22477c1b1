#include "storage/write_error.h"

#include <trireme/core/error.h>
#include <trireme/storage/durable.h>

#include <cerrno>
#include <string>
#include <system_error>

#include <fmt/core.h>

namespace trireme::storage {
namespace {

const char* hint_for(int error) {
  switch (error) {
    case ENOSPC:
      return "free space on this file system, or choose a folder on another one";
    case EDQUOT:
      return "the quota is used up: free space, ask for more, or choose another folder";
    case EIO:
      return "the device or file server reports an error; choose a folder on another one";
    case EFBIG:
      return "the limit of file sizes is too low (ulimit -f)";
    case EACCES:
    case EPERM:
    case EROFS:
      return "choose a folder that can be written";
    case EEXIST:
      return "remove it, or choose another name";
    case EMFILE:
      return "raise the limit of open files (ulimit -n)";
    case ENOENT:
    case ENOTDIR:
      return "check the path; the folder has to exist";
    default:
      return "check the file system";
  }
}

}  // namespace

void throw_write_error(const std::filesystem::path& path, std::string_view operation, int error,
                       int64_t needed) {
  std::string message =
      fmt::format("{}: {}: {}", path.native(), operation, std::system_category().message(error));
  if (needed > 0)
    message += fmt::format("; {} more bytes are needed, {} are free", needed,
                           free_bytes(path.has_parent_path() ? path.parent_path() : "."));
  throw Error(ErrorKind::storage, message, hint_for(error));
}

}  // namespace trireme::storage
