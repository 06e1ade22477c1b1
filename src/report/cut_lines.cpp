#include "cut_lines.h"

#include <trireme/core/error.h>

#include "json_in.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::report {
namespace {

constexpr int64_t usual_block = 64 * 1024;
/// A line that is longer is no record.
constexpr int64_t longest_line = 16 * 1024 * 1024;

[[noreturn]] void fail(const std::filesystem::path& file, std::string_view why) {
  throw Error(ErrorKind::storage, fmt::format("{} cannot be cut back: {}", file.string(), why),
              "check the permissions of run.dir");
}

bool stays(std::string_view line, int64_t step) {
  return is_until(nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false), step);
}

/// Until where `file` stays, looking from `end` backwards.
int64_t kept_bytes(std::ifstream& file, int64_t end, int64_t step) {
  int64_t block = usual_block;
  std::string text;
  while (end > 0) {
    const int64_t begin = std::max<int64_t>(0, end - block);
    text.resize(static_cast<size_t>(end - begin));
    file.seekg(begin);
    if (!file.read(text.data(), end - begin)) return -1;
    size_t stop = text.size();
    while (stop > 0) {
      const bool torn = text[stop - 1] != '\n';
      const size_t line_end = torn ? stop : stop - 1;
      const size_t newline = line_end == 0 ? std::string::npos : text.rfind('\n', line_end - 1);
      if (newline == std::string::npos && begin > 0) break;  // it begins in an earlier block
      const size_t start = newline == std::string::npos ? 0 : newline + 1;
      if (!torn && stays(std::string_view(text).substr(start, line_end - start), step))
        return begin + static_cast<int64_t>(stop);
      stop = start;
    }
    if (stop == text.size() && block < longest_line) {
      block *= 2;
      continue;
    }
    end = begin + (stop == text.size() ? 0 : static_cast<int64_t>(stop));
    block = usual_block;
  }
  return 0;
}

}  // namespace

bool is_until(const nlohmann::json& record, std::optional<int64_t> step) {
  const std::optional<int64_t> made = integer_in(record, "step");
  return step && made && *made <= *step;
}

void cut_lines_back(const std::filesystem::path& file, std::optional<int64_t> step) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  if (error == std::errc::no_such_file_or_directory) return;
  if (error) fail(file, error.message());
  int64_t kept = 0;
  if (step) {
    std::ifstream in(file, std::ios::binary);
    kept = in ? kept_bytes(in, static_cast<int64_t>(size), *step) : -1;
    if (kept < 0) fail(file, "it cannot be read");
  }
  if (static_cast<uintmax_t>(kept) == size) return;
  std::filesystem::resize_file(file, static_cast<uintmax_t>(kept), error);
  if (error) fail(file, error.message());
}

}  // namespace trireme::report
