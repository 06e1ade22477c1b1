#include <trireme/core/error.h>

#include <fmt/format.h>

namespace trireme::core {

std::string_view name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::unexpected: return "unexpected";
    case ErrorKind::usage: return "usage";
    case ErrorKind::configuration: return "configuration";
    case ErrorKind::ranks_differ: return "ranks_differ";
    case ErrorKind::environment: return "environment";
    case ErrorKind::input_missing: return "input_missing";
    case ErrorKind::data_damaged: return "data_damaged";
    case ErrorKind::plugin_refused: return "plugin_refused";
    case ErrorKind::no_checkpoint: return "no_checkpoint";
    case ErrorKind::model_refused: return "model_refused";
    case ErrorKind::plugin_failed: return "plugin_failed";
    case ErrorKind::storage: return "storage";
    case ErrorKind::hang: return "hang";
    case ErrorKind::peer_lost: return "peer_lost";
    case ErrorKind::diverged: return "diverged";
    case ErrorKind::out_of_memory: return "out_of_memory";
    case ErrorKind::corruption: return "corruption";
    case ErrorKind::stopped: return "stopped";
    case ErrorKind::do_not_requeue: return "do_not_requeue";
  }
  return "unexpected";
}

Error::Error(ErrorKind kind, std::string message, std::string hint)
    : kind_(kind), message_(std::move(message)), hint_(std::move(hint)),
      text_(hint_.empty() ? message_ : fmt::format("{}\nhint: {}", message_, hint_)) {}

Error::~Error() = default;

void check(bool condition, std::string_view what, std::source_location where) {
  if (condition) return;
  throw Error(ErrorKind::unexpected,
              fmt::format("broken invariant: {} ({}:{})", what, where.file_name(), where.line()),
              "this is a bug in Trireme; please report it with the command and the log");
}

}  // namespace trireme::core
