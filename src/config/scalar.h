#pragma once

#include <trireme/config/node.h>

#include <string>
#include <string_view>

namespace trireme::config {

/// The value of a plain (unquoted) scalar by the core schema of YAML 1.2.2, section 10.3.2: `no`
/// and `1_000` are texts, 010 is ten. A number that neither int64 nor double can hold has kind
/// number and an infinite value.
[[nodiscard]] Node type_plain_scalar(std::string_view text);

/// The shortest text that reads back to the same double, always with a point, an exponent, or one
/// of .inf, -.inf, .nan.
[[nodiscard]] std::string number_text(double value);

/// In double quotes with the escapes that YAML and JSON share; other bytes as they are.
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace trireme::config
