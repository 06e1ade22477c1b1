#include "run_records_files.h"

#include <trireme/storage/rotated_file.h>

#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace trireme::report {

bool RunFiles::has(const std::string& name) const {
  std::error_code error;
  return std::filesystem::exists(root_ / name, error);
}

Json RunFiles::object(const std::string& name) {
  std::ifstream file(root_ / name, std::ios::binary);
  if (!file) return nullptr;
  std::ostringstream text;
  text << file.rdbuf();
  Json json = Json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
  if (json.is_object()) return json;
  unread_.push_back(name + " is no JSON object");
  return nullptr;
}

void RunFiles::raw_lines(const std::string& name,
                         const std::function<bool(std::string_view)>& take) {
  std::ifstream file(root_ / name, std::ios::binary);
  int64_t number = 0, damaged = 0, first = 0;
  for (std::string line; std::getline(file, line);) {
    if (file.eof()) break;  // without its newline: being written, or torn by what ended the run
    ++number;
    if (!take(line) && damaged++ == 0) first = number;
  }
  if (damaged > 0)
    unread_.push_back(fmt::format("{}: {} damaged line{}, the first is line {}", name, damaged,
                                  damaged == 1 ? "" : "s", first));
}

void RunFiles::lines(const std::string& name,
                     const std::function<void(const nlohmann::json&)>& take) {
  raw_lines(name, [&take](std::string_view line) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_object()) take(json);
    return json.is_object();
  });
}

std::vector<std::string> RunFiles::parts(const std::string& name) const {
  std::vector<std::string> names;
  for (const std::filesystem::path& path : storage::rotated_parts(root_ / name))
    names.push_back(path.filename().string());
  return names;
}

std::string RunFiles::text(const std::string& name, size_t most) const {
  std::ifstream file(root_ / name, std::ios::binary);
  std::string text(most, '\0');
  file.read(text.data(), static_cast<std::streamsize>(most));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

}  // namespace trireme::report
