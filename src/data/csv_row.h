#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme::data {

/// Splits one line of CSV; cells may be "quoted", with "" for a quote (RFC 4180, less line breaks
/// in cells). Returns false if a quote is not closed or text follows a closed one.
[[nodiscard]] bool split_csv_row(std::string_view line, char delimiter,
                                 std::vector<std::string>& cells);

/// A finite number, blanks around it allowed; false for anything else.
[[nodiscard]] bool parse_number(std::string_view cell, double& value);

}  // namespace trireme::data
