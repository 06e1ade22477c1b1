#pragma once

#include <trireme/data/prepare.h>

#include <string>
#include <string_view>
#include <vector>

namespace trireme::data {

/// A piece of the input text, a view.
struct Document {
  std::string name;
  std::string_view text;
};

/// Cuts one input into documents by `text`'s separator or pattern, or not at all. Together they are
/// the whole input. Those without a name of their own are called INPUT#0, INPUT#1, ... Error
/// configuration for a pattern that is none.
[[nodiscard]] std::vector<Document> cut_documents(const std::string& input,
                                                  std::string_view content,
                                                  const TextOptions& text);

struct Split {
  std::vector<Document> train;
  std::vector<Document> eval;
};
/// Chooses the evaluation part by names or by fraction. Error configuration if a name matches
/// nothing, or a part is empty.
[[nodiscard]] Split split_documents(const std::vector<Document>& documents,
                                    const TextOptions& text);

}  // namespace trireme::data
