#include "data/mapped_file.h"

#include <trireme/core/error.h>

#include "data/file_description.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace trireme::data {
namespace {

[[noreturn]] void missing(const std::string& path, const char* why) {
  throw Error(ErrorKind::input_missing, fmt::format("{}: {}", path, why),
              "check data.train and data.eval; `trireme prepare` makes such files");
}

}  // namespace

int64_t require_readable_file(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) missing(path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) missing(path, "not a regular file");
  if (::access(path.c_str(), R_OK) != 0) missing(path, std::strerror(errno));
  return status.st_size;
}

MappedFile::MappedFile(const std::string& path, int64_t expected_bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) missing(path, std::strerror(errno));
  struct stat status {};
  const bool known = ::fstat(fd, &status) == 0;
  bytes_ = status.st_size;
  void* data = MAP_FAILED;
  if (known && bytes_ == expected_bytes && bytes_ > 0)
    data = ::mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ, MAP_SHARED, fd, 0);
  const int error = errno;
  ::close(fd);
  if (bytes_ != expected_bytes)
    throw Error(ErrorKind::data_damaged,
                fmt::format("{}: changed while it was opened: {} bytes, then {}", path,
                            expected_bytes, bytes_),
                std::string(remake_hint));
  if (data == MAP_FAILED)
    throw Error(ErrorKind::environment, fmt::format("{}: mmap: {}", path, std::strerror(error)),
                "raise the limit of address space (ulimit -v)");
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), static_cast<size_t>(bytes_));
}

}  // namespace trireme::data
