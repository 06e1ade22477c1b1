#pragma once

#include <trireme/config/binder.h>
#include <trireme/config/problem.h>
#include <trireme/config/resolved.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace trireme::config {

/// What all Binders of one pass over bind() share.
class Session {
 public:
  explicit Session(std::vector<Problem> earlier) : problems(std::move(earlier)) {}

  /// Binds the whole document.
  void run(const Node& root, const std::function<void(Binder&)>& bind);

  /// Adds a declaration unless its path has one already (another list element); says where it is,
  /// or npos.
  std::size_t add(Declaration declaration);
  static constexpr std::size_t npos = static_cast<std::size_t>(-1);

  /// Keys that nothing declared become problems; their hints need all declarations, so this comes
  /// last.
  void report_unknown();

  struct Unknown {
    Place place;
    std::string path;
    std::string name;
    std::string section;
    std::vector<std::string> siblings;
  };

  Resolved resolved;
  std::vector<Problem> problems;
  std::vector<Unknown> unknown;

 private:
  std::map<std::string, std::size_t> index_;
};

}  // namespace trireme::config
