#pragma once

#include <trireme/report/run_paths.h>

#include <filesystem>
#include <string>
#include <string_view>

namespace trireme::report {

/// The page that shows `records`, a text of run_records(): one file that needs no other and no
/// network.
[[nodiscard]] std::string html_page(std::string_view records);

/// Writes the page of a run, as run_records() reads it, to `file` (empty: run.dir/report.html), at
/// once and durably. Throws kinds input_missing and storage.
void write_html(const RunPaths& paths, bool held, const std::filesystem::path& file = {});

}  // namespace trireme::report
