#include "checkpoint/verdict.h"

#include <exception>
#include <new>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace trireme::checkpoint {

// First a byte that says which it is: results can be long and are not parsed twice.
std::string to_text(const Outcome& outcome) {
  if (!outcome.error) return "+" + outcome.result;
  const nlohmann::json json = nlohmann::json::array(
      {static_cast<int>(outcome.error->kind()), outcome.error->message(), outcome.error->hint()});
  // Messages hold paths, which may be anything.
  return "-" + json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Outcome outcome_from(std::string_view text) {
  check(!text.empty(), "a rank says nothing");
  const std::string_view rest = text.substr(1);
  if (text.front() == '+') return {std::string(rest), {}};
  const nlohmann::json json = nlohmann::json::parse(rest);
  return {{},
          Error(static_cast<ErrorKind>(json.at(0).get<int>()), json.at(1).get<std::string>(),
                json.at(2).get<std::string>())};
}

Outcome attempt(const std::function<std::string()>& work) {
  try {
    return {work(), {}};
  } catch (const Error& error) {
    return {{}, error};
  } catch (const std::bad_alloc&) {
    return {{},
            Error(ErrorKind::out_of_memory, "the host's memory does not suffice for a checkpoint")};
  } catch (const std::exception& error) {
    return {{}, Error(ErrorKind::unexpected, error.what())};
  }
}

Error of_rank(int rank, const Error& error) {
  return Error(error.kind(), fmt::format("rank {}: {}", rank, error.message()), error.hint());
}

}  // namespace trireme::checkpoint
