#pragma once

#include <trireme/report/run_paths.h>

#include <map>
#include <string>

namespace trireme::report {

/// config.yaml of a run as {path of a key: value as JSON}, without the folders that it writes to
/// and reads from, which say nothing about it. Empty where it cannot be read.
[[nodiscard]] std::map<std::string, std::string> configuration_of(const RunPaths& paths);

}  // namespace trireme::report
