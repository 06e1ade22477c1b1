#pragma once

#include <exception>
#include <source_location>
#include <string>
#include <string_view>

namespace trireme::core {

/// What went wrong, as the exit code of the process says it. The values are the documented exit codes; all stay under 126.
enum class ErrorKind : int {
  unexpected = 1,
  usage = 2,
  configuration = 10,
  ranks_differ = 11,
  environment = 12,
  input_missing = 20,
  data_damaged = 21,
  plugin_refused = 22,
  no_checkpoint = 23,
  model_refused = 24,
  plugin_failed = 25,
  storage = 30,
  hang = 40,
  peer_lost = 41,
  diverged = 50,
  out_of_memory = 51,
  corruption = 52,
  stopped = 75,
  do_not_requeue = 93,
};

/// The kind's short name, e.g. "data_damaged"; "unexpected" for values outside the list.
[[nodiscard]] std::string_view name_of(ErrorKind kind);

/// A failure that a caller or a user can act on. `what()` is the message followed by a line "hint: ..." if there is a hint.
/// Messages name the file, key, rank or step they are about; the hint says what to do.
class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message, std::string hint = {});
  ~Error() override;  // out of line: the key function keeps one type identity across shared libraries

  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  [[nodiscard]] const std::string& hint() const noexcept { return hint_; }
  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

 private:
  ErrorKind kind_;
  std::string message_;
  std::string hint_;
  std::string text_;
};

/// Checks an invariant of our own. A failure is a bug in Trireme and is reported as such, with the place.
void check(bool condition, std::string_view what,
           std::source_location where = std::source_location::current());

}  // namespace trireme::core

namespace trireme {
using core::check;
using core::Error;
using core::ErrorKind;
}  // namespace trireme
