#include <trireme/storage/durable.h>
#include <trireme/storage/json_lines.h>
#include <trireme/storage/mapped_file.h>

#include <string>
#include <string_view>
#include <system_error>

#include <nlohmann/json.hpp>

namespace trireme::storage {

TruncatedLines truncate_jsonl(const std::filesystem::path& path,
                              const std::function<bool(const nlohmann::json&)>& keep) {
  TruncatedLines result;
  std::error_code error;
  if (!std::filesystem::exists(path, error) && !error) return result;
  std::string kept;
  {
    const MappedFile file(path);
    std::string_view rest = file.text();
    while (!rest.empty()) {
      const size_t newline = rest.find('\n');
      const bool torn = newline == std::string_view::npos;
      const std::string_view line = rest.substr(0, newline);
      rest.remove_prefix(torn ? rest.size() : newline + 1);
      const nlohmann::json record =
          torn ? nlohmann::json(nlohmann::json::value_t::discarded)
               : nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (record.is_discarded()) {
        ++result.damaged;
      } else if (keep(record)) {
        ++result.kept;
        kept.append(line).push_back('\n');
      } else {
        ++result.removed;
      }
    }
  }
  if (result.removed + result.damaged > 0) replace_file(path, kept);
  return result;
}

}  // namespace trireme::storage
