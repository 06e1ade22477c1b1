#include "storage/system_calls.h"

#include <trireme/core/fault.h>

#include <cerrno>

#include <unistd.h>

namespace trireme::storage {
namespace {

int acted_out(core::fault::Action action) {
  if (action == core::fault::Action::enospc) return ENOSPC;
  if (action == core::fault::Action::eio) return EIO;
  return 0;
}

}  // namespace

WriteResult write_all(int fd, const void* data, size_t bytes) {
  return write_all(fd, data, bytes, ::write);
}

WriteResult write_all(int fd, const void* data, size_t bytes, WriteCall call) {
  WriteResult result;
  if (const int error = acted_out(core::fault::at("storage.write"))) return {0, error};
  const auto* next = static_cast<const char*>(data);
  while (result.written < bytes) {
    const ssize_t n = call(fd, next + result.written, bytes - result.written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      result.error = n < 0 ? errno : EIO;  // no progress and no reason: never wait for one
      return result;
    }
    result.written += static_cast<size_t>(n);
  }
  return result;
}

int sync_file(int fd) {
  if (const int error = acted_out(core::fault::at("storage.fsync"))) return error;
  while (::fsync(fd) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

int close_file(int fd) {
  // On Linux the descriptor is gone even after EINTR.
  return ::close(fd) == 0 || errno == EINTR ? 0 : errno;
}

}  // namespace trireme::storage
