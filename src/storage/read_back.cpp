#include <trireme/storage/read_back.h>

#include "storage/write_error.h"

#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace trireme::storage {
namespace {

constexpr size_t piece_bytes = 1 << 20;

class Descriptor {
 public:
  explicit Descriptor(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

// Not by a map: there an error of the disk would kill the process.
Hash128 read_back(const std::filesystem::path& path) {
  const Descriptor file(path);
  if (file.fd() < 0) throw_write_error(path, "cannot be read back", errno);
  (void)::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED);
  Hasher hasher;
  std::vector<std::byte> piece(piece_bytes);
  for (;;) {
    const ssize_t got = ::read(file.fd(), piece.data(), piece.size());
    if (got == 0) return hasher.digest();
    if (got > 0)
      hasher.update(piece.data(), static_cast<size_t>(got));
    else if (errno != EINTR)
      throw_write_error(path, "cannot be read back", errno);
  }
}

}  // namespace trireme::storage
