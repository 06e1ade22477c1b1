#include <trireme/debug/sample_ids.h>
#include <trireme/device/device_memory.h>
#include <trireme/telemetry/memory.h>

#include "debug/described.h"
#include "debug/tools.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

using nlohmann::json;

/// Evaluations: whose samples, how many, how long, and whether any was seen twice.
class Validation final : public Tool {
 public:
  Validation(const Subject& subject, Journal& journal) : subject_(subject), journal_(journal) {}

  void evaluated(const EvaluationSeen& seen) override {
    const int64_t duplicates = count_duplicates(seen);
    const SampleIds ids = SampleIds::of(seen.ids_here);
    const telemetry::MemoryMark memory = telemetry::mark_memory();
    const device::DeviceMemory device = device::device_memory(subject_.device);
    json fields{{"evaluated_step", seen.step},
                {"loss", seen.loss},
                {"samples", seen.samples},
                {"samples_here", seen.samples_here},
                {"batches_here", seen.batches_here},
                {"dataset", seen.dataset},
                {"duplicates_here", seen.ids_here.empty() ? json() : json(duplicates)},
                {"seconds", seen.seconds},
                {"samples_per_second_here",
                 seen.seconds > 0 ? static_cast<double>(seen.samples_here) / seen.seconds : 0},
                {"allocated", subject_.device.is_cpu() ? memory.allocated : device.allocated},
                {"peak", subject_.device.is_cpu() ? memory.peak : device.peak},
                {"rss", memory.rss}};
    digest_ = fields;
    // Text: JSON readers need not know 64-bit numbers.
    if (!seen.ids_here.empty())
      digest_["ids"] = {{"count", ids.count},
                        {"sum", fmt::format("{:016x}", ids.sum)},
                        {"exclusive_or", fmt::format("{:016x}", ids.exclusive_or)}};
    journal_.record(std::move(fields));
    if (!std::isfinite(seen.loss))
      journal_.finding(fmt::format("step {}: the loss of the evaluation is not finite", seen.step));
    if (seen.samples > seen.dataset)
      journal_.finding(fmt::format(
          "step {}: the evaluation counted {} samples of a data set of {}: some more than once",
          seen.step, seen.samples, seen.dataset));
    if (seen.samples_here == 0)
      journal_.finding(
          fmt::format("step {}: this rank had no sample of the evaluation", seen.step));
  }

  json digest() override { return std::exchange(digest_, json::object()); }

 private:
  int64_t count_duplicates(const EvaluationSeen& seen) {
    std::vector<int64_t> ids = seen.ids_here;
    std::ranges::sort(ids);
    const auto repeated = std::ranges::adjacent_find(ids);
    if (repeated == ids.end()) return 0;
    const int64_t first = *repeated;
    const auto rest = std::ranges::unique(ids);
    const auto duplicates = static_cast<int64_t>(rest.size());
    journal_.finding(fmt::format(
        "step {}: this rank evaluated {} of its {} samples more than once, sample {} among them",
        seen.step, duplicates, seen.ids_here.size(), first));
    return duplicates;
  }

  const Subject& subject_;
  Journal& journal_;
  json digest_ = json::object();
};

}  // namespace

ToolPtr make_validation(const Subject& subject, Journal& journal) {
  return std::make_unique<Validation>(subject, journal);
}

}  // namespace trireme::debug
