#include <trireme/core/error.h>
#include <trireme/report/html.h>
#include <trireme/report/run_records.h>
#include <trireme/storage/durable.h>

#include "html_page.h"

#include <array>
#include <utility>

namespace trireme::report {
namespace {

/// Inside a script element only "</script" and "<!--" mean anything, so no "<" may stay. It occurs
/// in the strings of JSON alone, where it can be written as an escape.
std::string harmless(std::string_view json) {
  std::string text;
  text.reserve(json.size() + 64);
  for (const char c : json) {
    if (c == '<')
      text += "\\u003c";
    else
      text += c;
  }
  return text;
}

}  // namespace

std::string html_page(std::string_view records) {
  const std::array<std::pair<std::string_view, std::string>, 3> parts{
      {{"{{style}}", std::string(page_css)},
       {"{{records}}", harmless(records)},
       {"{{script}}", std::string(page_js)}}};
  std::string page;
  std::string_view rest = page_html;
  for (const auto& [mark, text] : parts) {
    const size_t at = rest.find(mark);
    check(at != std::string_view::npos, "the page has a place for each of its parts");
    page += rest.substr(0, at);
    page += text;
    rest.remove_prefix(at + mark.size());
  }
  page += rest;
  return page;
}

void write_html(const std::filesystem::path& file, std::string_view records) {
  storage::replace_file(file, html_page(records));
}

}  // namespace trireme::report
