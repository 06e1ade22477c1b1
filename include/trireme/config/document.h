#pragma once

#include <trireme/config/node.h>
#include <trireme/config/problem.h>

#include <string>
#include <string_view>
#include <vector>

namespace trireme::config {

/// A YAML 1.2 file with the files that it extends and the overrides of the command line, as one
/// mapping. Syntax errors throw kind `configuration`, files that cannot be read kind
/// `input_missing`; what allows reading on (duplicate keys, tags, malformed overrides) is
/// collected, so that it is reported together with what binding finds.
class Document {
 public:
  Document() = default;

  /// `extends: other.yaml` in a file is relative to that file; mappings are merged, lists and
  /// scalars replace.
  static Document load(const std::string& file);
  /// `name` stands in messages, and `extends` is relative to it as if it were a file.
  static Document parse(std::string_view text, const std::string& name);

  /// Applies "key.path=value" in order. The value is YAML on one line; list elements are
  /// `groups[0].match`.
  void apply(const std::vector<std::string>& overrides);

  [[nodiscard]] const Node& root() const { return root_; }
  [[nodiscard]] const std::vector<Problem>& problems() const { return problems_; }
  /// Every file that was read, the first base first.
  [[nodiscard]] const std::vector<std::string>& files() const { return files_; }

 private:
  Node root_ = make_mapping();
  std::vector<Problem> problems_;
  std::vector<std::string> files_;
};

}  // namespace trireme::config
