#include "report/top_tail.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace trireme::report {
namespace {

class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ >= 0 && (::fstat(fd_, &status_) != 0 || !S_ISREG(status_.st_mode)))
      ::close(std::exchange(fd_, -1));
  }
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  [[nodiscard]] const struct stat& status() const { return status_; }
  [[nodiscard]] std::string read(off_t from, off_t to) const {
    std::string text(static_cast<size_t>(to - from), '\0');
    size_t got = 0;
    while (got < text.size()) {
      const ssize_t count =
          ::pread(fd_, text.data() + got, text.size() - got, from + static_cast<off_t>(got));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) break;
      got += static_cast<size_t>(count);
    }
    text.resize(got);
    return text;
  }

 private:
  int fd_;
  struct stat status_ {};
};

}  // namespace

LineTail::LineTail(std::filesystem::path path, size_t most_bytes)
    : path_(std::move(path)), most_bytes_(most_bytes) {}

LineTail::News LineTail::poll() {
  News news;
  const OpenFile file(path_);
  if (!file.is_open()) {
    news.again = inode_ != 0;
    inode_ = 0;
    read_ = 0;
    return news;
  }
  const struct stat& status = file.status();
  news.modified = static_cast<double>(status.st_mtim.tv_sec) +
                  1e-9 * static_cast<double>(status.st_mtim.tv_nsec);
  if (status.st_dev != device_ || status.st_ino != inode_ || status.st_size < read_) {
    news.again = inode_ != 0;
    device_ = status.st_dev;
    inode_ = status.st_ino;
    read_ = 0;
  }
  const off_t from = std::max(read_, status.st_size - static_cast<off_t>(most_bytes_));
  // The line that is cut goes; the byte before tells whether one is.
  const bool cut = from > read_;
  const std::string text = file.read(cut ? from - 1 : from, status.st_size);
  const size_t last = text.rfind('\n');
  if (last == std::string::npos) return news;
  size_t begin = cut ? text.find('\n') + 1 : 0;
  read_ = (cut ? from - 1 : from) + static_cast<off_t>(last) + 1;
  while (begin <= last) {
    const size_t end = text.find('\n', begin);
    news.lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return news;
}

}  // namespace trireme::report
