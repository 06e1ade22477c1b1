#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/core/error.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace trireme::checkpoint {

/// What one rank has to say after its part of the work: its result, or its Error.
struct Outcome {
  std::string result;
  std::optional<Error> error;
};

[[nodiscard]] std::string to_text(const Outcome& outcome);
[[nodiscard]] Outcome outcome_from(std::string_view text);

/// Does `work` and keeps what it throws. `work` must not communicate.
[[nodiscard]] Outcome attempt(const std::function<std::string()>& work);

/// The Error with "rank 3: " in front.
[[nodiscard]] Error of_rank(int rank, const Error& error);

}  // namespace trireme::checkpoint
