#include <trireme/core/error.h>
#include <trireme/storage/file_writer.h>

#include "storage/system_calls.h"
#include "storage/write_error.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <unistd.h>

namespace trireme::storage {
namespace {

// Hashed and handed to the system in pieces that stay in the cache between the two.
constexpr size_t piece_bytes = 1 << 20;
// The disk gets this much at a time while the next is hashed and copied. With the space laid out
// before, 500 MiB took 0.23 s instead of 0.6 to 1.2 in one go at fsync (ext4 on a virtual disk).
constexpr int64_t writeback_bytes = 8 << 20;

}  // namespace

FileWriter::FileWriter(std::filesystem::path path, int64_t total_bytes)
    : path_(std::move(path)), total_bytes_(total_bytes) {
  const int fd = create_file(path_.c_str());
  if (fd < 0) throw_write_error(path_, "cannot be made", -fd);
  fd_ = fd;
  if (total_bytes_ < writeback_bytes) return;
  if (const int error = reserve_space(fd_, total_bytes_)) fail("fallocate", error, total_bytes_);
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) close_and_remove();
}

void FileWriter::write(const void* data, size_t bytes, Hasher* also) {
  check(fd_ >= 0, "a file is written after it was finished or failed");
  const auto* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const size_t piece = std::min(bytes, piece_bytes);
    hasher_.update(next, piece);
    if (also != nullptr) also->update(next, piece);
    const WriteResult result = write_all(fd_, next, piece);
    bytes_ += static_cast<int64_t>(result.written);
    if (result.error != 0) {
      const auto here = static_cast<int64_t>(bytes - result.written);
      fail("write", result.error, std::max(here, total_bytes_ - bytes_));
    }
    if (bytes_ - at_disk_ >= writeback_bytes) {
      begin_writeback(fd_, at_disk_, bytes_ - at_disk_);
      at_disk_ = bytes_;
    }
    next += piece;
    bytes -= piece;
  }
}

void FileWriter::finish() {
  check(fd_ >= 0, "a file is finished twice, or after it failed");
  // Space that was only promised can turn out to be missing here.
  if (const int error = sync_file(fd_)) fail("fsync", error, bytes_);
  if (const int error = close_file(std::exchange(fd_, -1))) fail("close", error, bytes_);
}

void FileWriter::fail(std::string_view operation, int error, int64_t needed) {
  close_and_remove();
  const bool space = error == ENOSPC || error == EDQUOT || error == EFBIG || error == EIO;
  throw_write_error(path_, operation, error, space ? needed : 0);
}

void FileWriter::close_and_remove() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  ::unlink(path_.c_str());
}

}  // namespace trireme::storage
