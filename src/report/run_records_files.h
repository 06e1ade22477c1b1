#pragma once

#include "json.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::report {

/// The files of a run as they are found: absent ones are no error, and what is damaged is told of
/// in `unread`.
class RunFiles {
 public:
  explicit RunFiles(std::filesystem::path root) : root_(std::move(root)) {}

  /// The object in a file of JSON; null if there is none.
  [[nodiscard]] Json object(const std::string& name);
  /// Each record of a file of JSON lines, in order; without a last line that is being written.
  void lines(const std::string& name, const std::function<void(const nlohmann::json&)>& take);
  /// The same as text: `take` says whether a line is whole.
  void raw_lines(const std::string& name, const std::function<bool(std::string_view)>& take);
  /// What there is of a file and of those that it was rotated to, the oldest first.
  [[nodiscard]] std::vector<std::string> parts(const std::string& name) const;
  /// The beginning of a text.
  [[nodiscard]] std::string text(const std::string& name, size_t most) const;
  [[nodiscard]] bool has(const std::string& name) const;

  [[nodiscard]] const std::vector<std::string>& unread() const { return unread_; }

 private:
  std::filesystem::path root_;
  std::vector<std::string> unread_;
};

}  // namespace trireme::report
