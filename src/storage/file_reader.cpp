#include <trireme/core/error.h>
#include <trireme/storage/file_reader.h>

#include "storage/system_calls.h"

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

namespace trireme::storage {

FileReader::FileReader(std::filesystem::path path) : path_(std::move(path)) {
  const auto missing = [this](const std::string& why) {
    if (fd_ >= 0) ::close(fd_);
    throw Error(ErrorKind::input_missing, fmt::format("{}: {}", path_.native(), why),
                "check the path and the permissions");
  };
  // Opening a pipe would otherwise wait for its other end.
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat status {};
  if (fd_ < 0 || ::fstat(fd_, &status) != 0) missing(std::system_category().message(errno));
  if (!S_ISREG(status.st_mode)) missing("not a regular file");
  bytes_ = status.st_size;
}

FileReader::~FileReader() {
  ::close(fd_);
}

/// Fault site "storage.read".
size_t FileReader::read(int64_t offset, std::span<std::byte> into) const {
  size_t filled = 0;
  while (filled < into.size()) {
    const int fault = fault_at("storage.read");
    const ssize_t got = fault != 0 ? -1
                                   : ::pread(fd_, into.data() + filled, into.size() - filled,
                                             offset + static_cast<off_t>(filled));
    if (got == 0) break;
    if (got > 0) {
      filled += static_cast<size_t>(got);
      continue;
    }
    const int error = fault != 0 ? fault : errno;
    if (error == EINTR) continue;
    throw Error(ErrorKind::storage,
                fmt::format("{}: read: {}", path_.native(), std::system_category().message(error)),
                "check the file system, then start again; what can no longer be read has to be "
                "restored from a copy");
  }
  return filled;
}

void FileReader::for_each_piece(const std::function<void(std::span<const std::byte>)>& take) const {
  std::vector<std::byte> piece(read_piece_bytes);
  for (int64_t offset = 0;;) {
    const size_t got = read(offset, piece);
    if (got > 0) take(std::span(piece).first(got));
    if (got < piece.size()) return;
    offset += static_cast<int64_t>(got);
  }
}

Hash128 FileReader::hash() const {
  Hasher hasher;
  for_each_piece(
      [&](std::span<const std::byte> piece) { hasher.update(piece.data(), piece.size()); });
  return hasher.digest();
}

std::string FileReader::text() const {
  std::string text(static_cast<size_t>(bytes_), '\0');
  text.resize(read(0, std::as_writable_bytes(std::span(text))));
  return text;
}

}  // namespace trireme::storage
