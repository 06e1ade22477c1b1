#pragma once

#include <trireme/report/run_paths.h>

#include <filesystem>
#include <string>
#include <string_view>

namespace trireme::report {

/// The page that shows `records`, a text of run_records(): one file that needs no other and no
/// network.
[[nodiscard]] std::string html_page(std::string_view records);

/// Writes that page at once and durably. Throws kind storage.
void write_html(const std::filesystem::path& file, std::string_view records);

}  // namespace trireme::report
