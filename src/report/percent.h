#pragma once

namespace trireme::report {

[[nodiscard]] constexpr double percent(double part) {
  return 100 * part;
}

}  // namespace trireme::report
