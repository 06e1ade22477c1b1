#pragma once

#include <trireme/config/node.h>
#include <trireme/core/error.h>

#include <string>
#include <vector>

namespace trireme::config {

/// One thing that is wrong with a configuration.
struct Problem {
  Place place;
  std::string path;  ///< the full key path, empty where the problem is not about a key
  std::string message;
  std::string hint;
};

/// All problems as one Error of kind `configuration`: a line "PLACE: PATH: MESSAGE" each, in the
/// order of the places. With several problems each line carries its own hint in brackets.
[[nodiscard]] Error to_error(std::vector<Problem> problems);

}  // namespace trireme::config
