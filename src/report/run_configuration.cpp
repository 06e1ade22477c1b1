#include "run_configuration.h"

#include <trireme/config/document.h>
#include <trireme/core/error.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace trireme::report {
namespace {

constexpr std::array<std::string_view, 3> places{"run.dir", "checkpoint.staging_dir", "run.resume"};

void flatten(const config::Node& node, const std::string& path,
             std::map<std::string, std::string>& values) {
  if (node.kind == config::Node::Kind::mapping) {
    for (const config::Member& member : node.members)
      flatten(member.value, path.empty() ? member.name : path + "." + member.name, values);
  } else if (!path.empty() && std::ranges::find(places, path) == places.end()) {
    values[path] = config::to_json(node);
  }
}

}  // namespace

std::map<std::string, std::string> configuration_of(const RunPaths& paths) {
  std::map<std::string, std::string> values;
  try {
    flatten(config::Document::load(paths.config().string()).root(), "", values);
  } catch (const Error&) {
    return {};  // figures can be compared without it
  }
  return values;
}

}  // namespace trireme::report
