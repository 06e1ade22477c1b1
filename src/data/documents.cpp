#include "data/documents.h"

#include <trireme/core/error.h>

#include <algorithm>
#include <regex>

#include <fmt/format.h>
#include <fnmatch.h>

namespace trireme::data {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& hint) {
  throw Error(ErrorKind::configuration, what, hint);
}

std::vector<Document> cut_at_separator(const std::string& input, std::string_view content,
                                       const std::string& separator) {
  std::vector<Document> documents;
  while (!content.empty()) {
    const size_t found = content.find(separator);
    const size_t length =
        found == std::string_view::npos ? content.size() : found + separator.size();
    documents.push_back({fmt::format("{}#{}", input, documents.size()), content.substr(0, length)});
    content.remove_prefix(length);
  }
  return documents;
}

std::vector<Document> cut_at_pattern(const std::string& input, std::string_view content,
                                     const std::string& pattern) {
  std::regex regex;
  try {
    regex = std::regex(pattern, std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error& error) {
    refuse(fmt::format("document pattern `{}`: {}", pattern, error.what()),
           "write an ECMAScript regular expression with one group, the document's name");
  }
  if (regex.mark_count() < 1)
    refuse(fmt::format("document pattern `{}` has no group", pattern),
           "put the part that is the document's name in parentheses");
  std::vector<Document> documents;
  std::string current = input + "#0";  // what comes before the first match
  size_t start = 0;
  for (size_t line = 0; line < content.size();) {
    // Names stand at the start of a line; std::regex needs stack for every character it looks at.
    const std::string_view head = content.substr(line, 256);
    std::match_results<std::string_view::const_iterator> match;
    if (std::regex_search(head.begin(), head.end(), match, regex,
                          std::regex_constants::match_continuous) &&
        match[1].str() != current) {
      if (line > start) documents.push_back({current, content.substr(start, line - start)});
      current = match[1].str();
      start = line;
    }
    const size_t end = content.find('\n', line);
    line = end == std::string_view::npos ? content.size() : end + 1;
  }
  if (start < content.size()) documents.push_back({current, content.substr(start)});
  return documents;
}

bool matches(const std::string& pattern, const std::string& name) {
  return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

Split split_by_name(const std::vector<Document>& documents,
                    const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns) {
    if (std::ranges::any_of(documents, [&](const auto& d) { return matches(pattern, d.name); }))
      continue;
    std::string names;
    for (size_t i = 0; i < std::min<size_t>(documents.size(), 80); ++i) {
      if (i > 0 && documents[i].name == documents[i - 1].name) continue;
      names += (i > 0 ? ", " : "") + documents[i].name;
    }
    refuse(fmt::format("no document is called `{}`; there are: {}", pattern, names),
           "name documents to evaluate on as they are listed");
  }
  Split split;
  for (const Document& d : documents) {
    const bool chosen = std::ranges::any_of(
        patterns, [&](const auto& pattern) { return matches(pattern, d.name); });
    (chosen ? split.eval : split.train).push_back(d);
  }
  return split;
}

/// The last documents whose text is at least `wanted` bytes.
Split split_by_document(const std::vector<Document>& documents, double wanted) {
  size_t first = documents.size();
  double taken = 0;
  while (first > 0 && taken < wanted) taken += static_cast<double>(documents[--first].text.size());
  const auto border = documents.begin() + static_cast<ptrdiff_t>(first);
  return {{documents.begin(), border}, {border, documents.end()}};
}

/// The last `wanted` bytes, from the start of a line if there is one.
Split split_by_byte(const std::vector<Document>& documents, double wanted) {
  Split split = split_by_document(documents, wanted);
  if (split.eval.empty()) return split;
  double later = 0;
  for (size_t i = 1; i < split.eval.size(); ++i)
    later += static_cast<double>(split.eval[i].text.size());
  const Document whole = split.eval.front();
  size_t cut = whole.text.size() -
               std::min(whole.text.size(), static_cast<size_t>(std::max(wanted - later, 0.0)));
  const size_t line = whole.text.find('\n', cut);
  if (cut > 0 && line != std::string_view::npos && line + 1 < whole.text.size()) cut = line + 1;
  split.eval.front().text.remove_prefix(cut);
  if (cut > 0) split.train.push_back({whole.name, whole.text.substr(0, cut)});
  return split;
}

}  // namespace

std::vector<Document> cut_documents(const std::string& input, std::string_view content,
                                    const TextOptions& text) {
  if (!text.document_separator.empty())
    return cut_at_separator(input, content, text.document_separator);
  if (!text.document_pattern.empty()) return cut_at_pattern(input, content, text.document_pattern);
  return {{input, content}};
}

Split split_documents(const std::vector<Document>& documents, const TextOptions& text) {
  const double fraction = text.eval_fraction;
  if (!(fraction >= 0 && fraction < 1))
    refuse(fmt::format("an evaluation fraction of {} is not in [0, 1)", fraction), "use e.g. 0.1");
  if (fraction > 0 && !text.eval_documents.empty())
    refuse("both evaluation documents and an evaluation fraction are given", "give one of them");
  double total = 0;
  for (const Document& d : documents) total += static_cast<double>(d.text.size());
  const bool cut = !text.document_separator.empty() || !text.document_pattern.empty();
  Split split;
  if (!text.eval_documents.empty())
    split = split_by_name(documents, text.eval_documents);
  else if (fraction > 0)
    split = cut ? split_by_document(documents, fraction * total)
                : split_by_byte(documents, fraction * total);
  else
    return {documents, {}};
  if (split.train.empty() || split.eval.empty())
    refuse(
        fmt::format("the {} part would be empty", split.train.empty() ? "training" : "evaluation"),
        "choose other evaluation documents, or another fraction");
  return split;
}

}  // namespace trireme::data
