#include "storage/system_calls.h"

#include <trireme/core/fault.h>

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

namespace trireme::storage {

int fault_at(std::string_view site) {
  const core::fault::Action action = core::fault::at(site);
  if (action == core::fault::Action::enospc) return ENOSPC;
  if (action == core::fault::Action::eio) return EIO;
  return 0;
}

int create_file(const char* path) {
  if (const int error = fault_at("storage.open")) return -error;
  for (;;) {
    const int fd = ::open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return fd;
    if (errno != EINTR) return -errno;
  }
}

WriteResult write_all(int fd, const void* data, size_t bytes) {
  return write_all(fd, data, bytes, ::write);
}

WriteResult write_all(int fd, const void* data, size_t bytes, WriteCall call) {
  WriteResult result;
  if (const int error = fault_at("storage.write")) return {0, error};
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

int reserve_space(int fd, int64_t bytes) {
  if (bytes <= 0) return 0;
  int error = 0;
  do {
    error = ::fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes) == 0 ? 0 : errno;
  } while (error == EINTR);
  return error == ENOSPC || error == EDQUOT || error == EFBIG ? error : 0;
}

void begin_writeback(int fd, int64_t from, int64_t bytes) {
  (void)::sync_file_range(fd, from, bytes, SYNC_FILE_RANGE_WRITE);  // a hint: fsync says how it went
}

int sync_file(int fd) {
  if (const int error = fault_at("storage.fsync")) return error;
  while (::fsync(fd) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

int close_file(int fd) {
  const int fault = fault_at("storage.close");
  // On Linux the descriptor is gone even after EINTR.
  const int error = ::close(fd) == 0 || errno == EINTR ? 0 : errno;
  return fault != 0 ? fault : error;
}

}  // namespace trireme::storage
