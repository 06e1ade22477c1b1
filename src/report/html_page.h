#pragma once

#include <string_view>

namespace trireme::report {

/// The files of src/report/page, put into the library when it is built.
extern const std::string_view page_html;
extern const std::string_view page_css;
extern const std::string_view page_js;

}  // namespace trireme::report
