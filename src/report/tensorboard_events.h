#pragma once

#include <trireme/report/tensorboard.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace trireme::report {

// The messages of event files, tensorboard/compat/proto/{event,summary}.proto. `time` is seconds
// since 1970.

/// The first one of a file.
[[nodiscard]] std::string version_event(double time);
/// TensorBoard forgets what it has read of `step` and later ones.
[[nodiscard]] std::string start_event(double time, int64_t step);
[[nodiscard]] std::string scalars_event(double time, int64_t step,
                                        std::span<const TaggedValue> values);
[[nodiscard]] std::string text_event(double time, int64_t step, std::string_view tag,
                                     std::string_view markdown);
[[nodiscard]] std::string histogram_event(double time, int64_t step, std::string_view tag,
                                          const Histogram& values);

/// An event as it lies in a file: with its length, both with checksums.
void append_record(std::string& to, std::string_view event);

}  // namespace trireme::report
