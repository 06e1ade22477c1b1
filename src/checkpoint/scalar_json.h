#pragma once

#include <trireme/core/state.h>

#include <string_view>

#include <nlohmann/json.hpp>

namespace trireme::checkpoint {

/// As a plain JSON value; numbers that are not finite as {"real": "nan"}, text that is not UTF-8 as
/// {"bytes": "00ff"}. Exact: the bits come back, but for those of a NaN.
[[nodiscard]] nlohmann::json to_json(const core::Scalar& scalar);
/// Its inverse. Throws std::invalid_argument for anything else.
[[nodiscard]] core::Scalar scalar_from(const nlohmann::json& json);

[[nodiscard]] bool is_utf8(std::string_view text);

}  // namespace trireme::checkpoint
