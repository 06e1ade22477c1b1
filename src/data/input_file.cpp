#include "data/input_file.h"

#include <trireme/core/error.h>
#include <trireme/storage/mapped_file.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

namespace trireme::data {

int64_t require_readable_file(const std::string& path) {
  const auto missing = [&](const char* why) {
    throw Error(ErrorKind::input_missing, fmt::format("{}: {}", path, why),
                "check the path; `trireme prepare` makes data files");
  };
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) missing(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) missing("not a regular file");
  if (::access(path.c_str(), R_OK) != 0) missing(std::strerror(errno));
  return status.st_size;
}

std::string read_whole_file(const std::string& path) {
  return std::string(storage::MappedFile(path).text());
}

struct InputFile::Stream {
  std::FILE* plain = nullptr;
  gzFile packed = nullptr;  // zlib reads plain files through it too, as they are
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    if (plain != nullptr) std::fclose(plain);
    if (packed != nullptr) gzclose_r(packed);
  }
};

InputFile::InputFile(const std::string& path, Format format)
    : path_(path), file_bytes_(require_readable_file(path)), stream_(std::make_unique<Stream>()) {
  if (format == Format::plain)
    stream_->plain = std::fopen(path.c_str(), "rbe");
  else
    stream_->packed = gzopen(path.c_str(), "rbe");
  if (stream_->plain == nullptr && stream_->packed == nullptr)
    throw Error(ErrorKind::input_missing, fmt::format("{}: {}", path, std::strerror(errno)),
                "check its permissions");
  if (stream_->packed != nullptr) gzbuffer(stream_->packed, 1 << 17);
}

InputFile::~InputFile() = default;

void InputFile::read(void* out, int64_t bytes) {
  auto* next = static_cast<char*>(out);
  while (bytes > 0) {
    const auto piece = static_cast<unsigned>(std::min<int64_t>(bytes, 1 << 24));
    const int64_t got = stream_->plain != nullptr
                            ? static_cast<int64_t>(std::fread(next, 1, piece, stream_->plain))
                            : gzread(stream_->packed, next, piece);
    if (got <= 0) {
      int code = Z_OK;
      const char* text = stream_->packed != nullptr ? gzerror(stream_->packed, &code) : "";
      damaged(code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR
                  ? fmt::format("ends at byte {}, {} more are needed", position_, bytes)
                  : fmt::format("byte {}: {}", position_, text));
    }
    next += got;
    bytes -= got;
    position_ += got;
  }
}

bool InputFile::at_end() {
  if (stream_->plain != nullptr) {
    const int c = std::fgetc(stream_->plain);
    if (c != EOF) std::ungetc(c, stream_->plain);
    return c == EOF;
  }
  const int c = gzgetc(stream_->packed);
  if (c >= 0) gzungetc(c, stream_->packed);
  return c < 0;
}

void InputFile::damaged(const std::string& what) const {
  throw Error(ErrorKind::data_damaged, fmt::format("{}: {}", path_, what),
              "fetch or make the input again");
}

}  // namespace trireme::data
