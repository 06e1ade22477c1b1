#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace trireme::app {

/// A file or folder that a command makes. It is written under a temporary name beside its own, which it gets at once when it is
/// complete and durable; unless that happens, nothing is left of it.
class NewOutput {
 public:
  enum class Kind { file, folder };
  /// Refuses (kind usage) what exists already, unless `replace`; and a file where a folder stands, or a folder in the place of one
  /// that holds more than `own_names`: what such a command made before is replaced, never anything else.
  NewOutput(const std::filesystem::path& path, Kind kind, bool replace, const std::vector<std::string>& own_names = {});
  ~NewOutput();
  NewOutput(const NewOutput&) = delete;
  NewOutput& operator=(const NewOutput&) = delete;

  /// Where to write; a folder is there.
  [[nodiscard]] const std::filesystem::path& temporary() const { return temporary_; }
  /// Everything in it is complete and durable: gives it its name.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  Kind kind_;
  bool replace_;
};

}  // namespace trireme::app
