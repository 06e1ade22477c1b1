#include <trireme/core/error.h>
#include <trireme/storage/append_file.h>

#include "storage/system_calls.h"
#include "storage/write_error.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace trireme::storage {
namespace {

/// Where the line that begins last ends: the size of the file less a torn last line; -1: errno.
off_t end_of_whole_lines(int fd, off_t size) {
  std::array<char, 4096> buffer;
  while (size > 0) {
    const off_t from = std::max<off_t>(0, size - static_cast<off_t>(buffer.size()));
    const ssize_t got = ::pread(fd, buffer.data(), static_cast<size_t>(size - from), from);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return -1;
    const std::string_view text(buffer.data(), static_cast<size_t>(got));
    if (const size_t newline = text.rfind('\n'); newline != std::string_view::npos)
      return from + static_cast<off_t>(newline) + 1;
    size = from;
  }
  return 0;
}

}  // namespace

AppendFile::AppendFile(std::filesystem::path path) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) throw_write_error(path_, "cannot be opened", errno);
  const off_t size = ::lseek(fd_, 0, SEEK_END);
  const off_t whole = size > 0 ? end_of_whole_lines(fd_, size) : size;
  if (whole == size) return;
  if (whole >= 0 && ::ftruncate(fd_, whole) == 0) return;
  const int error = errno;
  ::close(std::exchange(fd_, -1));
  throw_write_error(path_, "cannot be cut to whole lines", error);
}

AppendFile::~AppendFile() {
  if (fd_ >= 0) ::close(fd_);
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      torn_at_(std::exchange(other.torn_at_, {})) {}

AppendFile& AppendFile::operator=(AppendFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(torn_at_, other.torn_at_);
  return *this;
}

/// Fault site "storage.truncate".
void AppendFile::cut_torn_line() {
  int error = fault_at("storage.truncate");
  if (error == 0 && ::ftruncate(fd_, *torn_at_) != 0) error = errno;
  if (error != 0) throw_write_error(path_, "cannot be cut to whole lines", error);
  torn_at_.reset();
}

void AppendFile::append_line(std::string_view line, Sync when) {
  check(line.find('\n') == std::string_view::npos, "a line holds a newline");
  std::string text;
  text.reserve(line.size() + 1);
  text.append(line).push_back('\n');
  if (torn_at_) cut_torn_line();
  const off_t before = ::lseek(fd_, 0, SEEK_END);
  if (before < 0) throw_write_error(path_, "seek", errno);
  const WriteResult result = write_all(fd_, text.data(), text.size());
  if (result.error != 0) {
    if (result.written > 0) torn_at_ = before;
    try {
      if (torn_at_) cut_torn_line();
    } catch (const Error&) {
      // What made the write fail is told; the next line tries again.
    }
    throw_write_error(path_, "write", result.error, static_cast<int64_t>(text.size()));
  }
  if (when == Sync::now) sync();
}

void AppendFile::sync() {
  if (const int error = sync_file(fd_)) throw_write_error(path_, "fsync", error);
}

}  // namespace trireme::storage
