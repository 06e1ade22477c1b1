#include <trireme/core/error.h>
#include <trireme/storage/mapped_file.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace trireme::storage {
namespace {

[[noreturn]] void missing(const std::filesystem::path& path, const std::string& why) {
  throw Error(ErrorKind::input_missing, fmt::format("{}: {}", path.native(), why),
              "check the path and the permissions");
}

}  // namespace

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
  // Opening a pipe would otherwise wait for its other end.
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) missing(path_, std::system_category().message(errno));
  struct stat status {};
  int error = ::fstat(fd, &status) == 0 ? 0 : errno;
  const bool regular = error == 0 && S_ISREG(status.st_mode);
  void* data = nullptr;
  if (regular && status.st_size > 0) {
    data = ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) error = errno;
  }
  ::close(fd);
  if (error != 0) missing(path_, std::system_category().message(error));
  if (!regular) missing(path_, "not a regular file");
  data_ = static_cast<const std::byte*>(data);
  size_ = static_cast<size_t>(status.st_size);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace trireme::storage
