#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace trireme::report {

/// Longer texts are cut in traces: names, shapes, stacks.
constexpr size_t longest_trace_text = 4096;

void append_number(std::string& out, int64_t value);
/// Nanoseconds as microseconds: 1234500 gives 1234.5. Exact; negative ones become 0.
void append_microseconds(std::string& out, int64_t ns);
/// A JSON string in quotation marks: quotes, backslashes and control characters are escaped, bytes
/// that are no UTF-8 replaced by U+FFFD, what is too long is cut and ends in "...".
void append_quoted(std::string& out, std::string_view text);

}  // namespace trireme::report
