#include <trireme/config/problem.h>

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

namespace trireme::config {
namespace {

constexpr std::size_t most_lines = 50;

/// A problem is one line, whatever the file's keys and texts contain.
std::string on_one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += fmt::format("\\x{:02x}", byte);
    }
  }
  return out;
}

std::string line_of(const Problem& problem) {
  std::string line = to_string(problem.place) + ": ";
  if (!problem.path.empty()) line += problem.path + ": ";
  return on_one_line(line + problem.message);
}

/// Files first, in the order of their lines; then the command line and defaults.
auto order_of(const Problem& problem) {
  return std::tuple(problem.place.line == 0, problem.place.source ? *problem.place.source : "",
                    problem.place.line, problem.place.column);
}

}  // namespace

Error to_error(std::vector<Problem> problems) {
  check(!problems.empty(), "an error needs a problem");
  if (problems.size() == 1) {
    return {ErrorKind::configuration, line_of(problems[0]), on_one_line(problems[0].hint)};
  }
  std::ranges::stable_sort(problems, {}, order_of);
  std::string message;
  for (std::size_t i = 0; i < std::min(problems.size(), most_lines); ++i) {
    if (i > 0) message += '\n';
    message += line_of(problems[i]);
    if (!problems[i].hint.empty()) message += " (" + on_one_line(problems[i].hint) + ")";
  }
  if (problems.size() > most_lines) {
    message += fmt::format("\nand {} more problems", problems.size() - most_lines);
  }
  return {ErrorKind::configuration, message,
          "trireme config explain KEY prints the type, default and meaning of a key"};
}

}  // namespace trireme::config
