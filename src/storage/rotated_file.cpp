#include <trireme/core/error.h>
#include <trireme/storage/durable.h>
#include <trireme/storage/rotated_file.h>

#include <algorithm>
#include <system_error>

#include <fmt/format.h>

namespace trireme::storage {
namespace {

namespace fs = std::filesystem;

fs::path numbered(const fs::path& path, int number) {
  return number == 0 ? path : fs::path(fmt::format("{}.{}", path.native(), number));
}

}  // namespace

void RotatedFile::append_line(std::string_view line) {
  const auto size = static_cast<int64_t>(line.size()) + 1;
  if (file_ && bytes_ > 0 && bytes_ + size > limits_.bytes) rotate();
  if (!file_) {
    make_directories(path_.parent_path());
    file_.emplace(path_);
    std::error_code error;
    const auto there = fs::file_size(path_, error);
    bytes_ = error ? 0 : static_cast<int64_t>(there);
    if (bytes_ > 0 && bytes_ + size > limits_.bytes) {
      rotate();
      file_.emplace(path_);
    }
  }
  file_->append_line(line);
  bytes_ += size;
}

void RotatedFile::rotate() {
  file_.reset();
  bytes_ = 0;
  // As far as the first number that is free, after a rotation that was cut off.
  std::error_code error;
  int last = 1;
  while (last < limits_.files - 1 && fs::exists(numbered(path_, last), error)) ++last;
  for (int number = last - 1; number >= 0; --number) {
    fs::rename(numbered(path_, number), numbered(path_, number + 1), error);
    if (error && error != std::errc::no_such_file_or_directory)
      throw Error(ErrorKind::storage,
                  fmt::format("{}: cannot be renamed: {}", numbered(path_, number).string(),
                              error.message()),
                  "check permissions of run.dir");
  }
}

std::vector<fs::path> rotated_parts(const fs::path& path, int files) {
  std::vector<fs::path> parts;
  std::error_code error;
  if (fs::exists(path, error)) parts.push_back(path);
  for (int number = 1; number < files; ++number)
    if (fs::exists(numbered(path, number), error)) parts.push_back(numbered(path, number));
  std::ranges::reverse(parts);
  return parts;
}

}  // namespace trireme::storage
