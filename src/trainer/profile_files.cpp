#include "trainer/profile_files.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <optional>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <trireme/core/error.h>

#include "report/json_in.h"

namespace trireme::trainer {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kept_prefix = "trace-step-", kept_suffix = ".json.gz";

/// Of the recording that wrote the file; 0 if it does not say.
int64_t first_step_of(const fs::path& operators) {
  if (!fs::is_regular_file(operators)) return 0;
  std::ifstream file(operators);
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  return report::integer_in(json, "first_step").value_or(0);
}

bool is_kept_trace(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with(kept_prefix) && name.ends_with(kept_suffix);
}

struct ProfileFile {
  std::string_view name, process;
  int64_t unix_ms = 0;
};

/// As ProfileFiles::stem() and the suffix make it; nothing if the name is no such one.
std::optional<ProfileFile> profile_file(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return {};
  const std::string_view stem = name.substr(0, name.size() - suffix.size());
  const size_t dot = stem.rfind('.');
  if (dot == std::string_view::npos) return {};
  ProfileFile file{.name = name, .process = stem.substr(0, dot)};
  const char* const end = stem.data() + stem.size();
  const auto [read_to, error] = std::from_chars(stem.data() + dot + 1, end, file.unix_ms);
  if (error != std::errc() || read_to != end) return {};
  return file;
}

}  // namespace

std::string ProfileFiles::stem(const comm::RankInfo& rank, int64_t unix_ms) {
  return fmt::format("{}_{}.{}", rank.host, rank.pid, unix_ms);
}

void ProfileFiles::make_room(int64_t keep) const {
  if (!fs::is_directory(paths_.root)) throw Error(ErrorKind::storage, paths_.root.string() + " is no folder", "make run.dir");
  const std::string name = fmt::format("{}{:08}{}", kept_prefix, first_step_of(operators()), kept_suffix);
  if (fs::exists(trace())) fs::rename(trace(), paths_.root / name);
  std::vector<fs::path> kept;
  for (const fs::directory_entry& entry : fs::directory_iterator(paths_.root))
    if (is_kept_trace(entry.path())) kept.push_back(entry.path());
  std::ranges::sort(kept);
  for (size_t i = 0; i + static_cast<size_t>(std::max<int64_t>(keep, 1)) <= kept.size(); ++i) fs::remove(kept[i]);
}

void ProfileFiles::drop_surplus(int64_t keep, int ranks) const {
  if (!fs::is_directory(folder())) return;
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder())) names.push_back(entry.path().filename().string());
  for (const std::string& name : surplus_files(names, keep, ranks)) fs::remove(folder() / name);
}

std::vector<std::string> surplus_files(const std::vector<std::string>& names, int64_t keep, int ranks) {
  std::vector<std::string> surplus;
  for (const std::string_view suffix : {ProfileFiles::trace_suffix, ProfileFiles::memory_suffix}) {
    std::vector<ProfileFile> files;
    for (const std::string& name : names)
      if (const auto file = profile_file(name, suffix)) files.push_back(*file);
    std::ranges::sort(files, [](const auto& a, const auto& b) { return std::tie(b.unix_ms, b.name) < std::tie(a.unix_ms, a.name); });
    std::map<std::string_view, int64_t> of_process;
    int64_t kept = 0;
    for (const ProfileFile& file : files) {
      if (of_process[file.process] < keep && kept < keep * ranks)
        ++of_process[file.process], ++kept;
      else
        surplus.emplace_back(file.name);
    }
  }
  return surplus;
}

}  // namespace trireme::trainer
