#pragma once

#include "json.h"
#include "run_records_columns.h"

namespace trireme::report {

/// A report.json of a bounded size: numbers with the digits that an eye sees, lists cut to what a
/// page can show, and the history in as many bins as there is room for.
[[nodiscard]] Json shortened_report(Json report);

/// What can be said without report.json: means of the logged steps, and a verdict from them.
[[nodiscard]] Json estimated_report(const Columns& metrics);

}  // namespace trireme::report
