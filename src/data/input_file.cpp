#include "data/input_file.h"

#include <trireme/core/error.h>

#include "data/mapped_file.h"

#include <algorithm>

#include <fmt/core.h>
#include <zlib.h>

namespace trireme::data {

std::string read_whole_file(const std::string& path) {
  const int64_t bytes = require_readable_file(path);
  if (bytes == 0) return {};
  const MappedFile map(path, bytes);
  return {reinterpret_cast<const char*>(map.data()), static_cast<size_t>(bytes)};
}

struct InputFile::Stream {
  gzFile file;
  ~Stream() { gzclose_r(file); }
};

InputFile::InputFile(const std::string& path)
    : path_(path), file_bytes_(require_readable_file(path)) {
  const gzFile file = gzopen(path.c_str(), "rb");  // reads plain files as they are
  if (file == nullptr)
    throw Error(ErrorKind::input_missing, fmt::format("{}: cannot be opened", path),
                "check its permissions");
  gzbuffer(file, 1 << 17);
  stream_.reset(new Stream{file});
}

InputFile::~InputFile() = default;

void InputFile::read(void* out, int64_t bytes) {
  auto* next = static_cast<char*>(out);
  while (bytes > 0) {
    const auto piece = static_cast<unsigned>(std::min<int64_t>(bytes, 1 << 24));
    const int got = gzread(stream_->file, next, piece);
    if (got <= 0) {
      int code = 0;
      const char* text = gzerror(stream_->file, &code);
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
  const int c = gzgetc(stream_->file);
  if (c < 0) return true;
  gzungetc(c, stream_->file);
  return false;
}

void InputFile::damaged(const std::string& what) const {
  throw Error(ErrorKind::data_damaged, fmt::format("{}: {}", path_, what),
              "fetch or make the input again");
}

}  // namespace trireme::data
