#include "advice.h"

#include <trireme/telemetry/statistics.h>

#include "percent.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

namespace trireme::report {
namespace {

using telemetry::Phase;

// Our own choices.
constexpr double memory_is_full = 0.90;
constexpr double throttled_often = 0.10;
constexpr double hides_little = 0.5;
/// Workers are counted so that they have some time left.
constexpr double worker_reserve = 1.15;

std::string bytes_text(double bytes) {
  constexpr std::array<std::string_view, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (std::abs(bytes) >= 1024 && unit + 1 < units.size()) bytes /= 1024, ++unit;
  return fmt::format("{:.{}f} {}", bytes, unit == 0 || bytes >= 100 ? 0 : 1, units[unit]);
}

telemetry::Spread spread_over(std::span<const RankRow> rows, size_t item) {
  std::vector<double> values;
  for (const RankRow& row : rows) values.push_back(row[item]);
  return telemetry::spread_of(values);
}
telemetry::Spread spread_over(std::span<const RankRow> rows, Item item) {
  return spread_over(rows, index_of(item));
}
telemetry::Spread spread_over(std::span<const RankRow> rows, Phase phase) {
  return spread_over(rows, index_of(phase));
}

/// "2 and 3", "1, 2 and 3", "1, 2, 3 and 5 more"
std::string list_of(const std::vector<int>& ranks) {
  constexpr size_t shown = 4;
  std::string text;
  const bool more = ranks.size() > shown;
  const size_t named = more ? shown - 1 : ranks.size();
  for (size_t i = 0; i < named; ++i)
    text += fmt::format("{}{}", i == 0 ? "" : i + 1 == named && !more ? " and " : ", ", ranks[i]);
  return more ? fmt::format("{} and {} more", text, ranks.size() - named) : text;
}

std::string workers_text(int64_t workers) {
  return fmt::format("{} worker{}", workers, workers == 1 ? "" : "s");
}

}  // namespace

std::string name_rank(int rank, std::span<const std::string> hosts) {
  const auto index = static_cast<size_t>(rank);
  if (index >= hosts.size() || hosts[index].empty()) return fmt::format("rank {}", rank);
  return fmt::format("rank {} on {}", rank, hosts[index]);
}

std::vector<std::string> advice_on_data(const AdviceOn& run) {
  std::vector<std::string> advice;
  const double step = spread_over(run.rows, Item::step_seconds).mean;
  const telemetry::Spread wait = spread_over(run.rows, Phase::data);
  if (step <= 0) return advice;

  std::vector<int> most;
  double shares = 0;
  for (size_t rank = 0; rank < run.rows.size(); ++rank) {
    const double part = run.rows[rank][index_of(Phase::data)] / step;
    if (part < 0.8 * wait.max / step || part < 1.5 * wait.mean / step) continue;
    most.push_back(static_cast<int>(rank));
    shares += part;
  }
  if (!most.empty() && most.size() <= run.rows.size() / 2)
    advice.push_back(fmt::format(
        "{:.0f} % of the step waits for data on rank{} {}, {:.0f} % on an average rank: look at "
        "the disks and the other load of their hosts first",
        percent(shares / static_cast<double>(most.size())), most.size() == 1 ? "" : "s",
        list_of(most), percent(wait.mean / step)));

  const telemetry::Spread load = spread_over(run.rows, Item::load_seconds);
  const int64_t workers = run.known.data_workers;
  if (load.max_rank < 0 || load.max <= 0) {
    advice.push_back(fmt::format(
        "the steps wait {:.3g} s for data: more data.workers{}, or faster storage, would hide it",
        wait.mean, workers >= 0 ? fmt::format(" than {}", workers) : ""));
    return advice;
  }
  const double compute = std::max(step - wait.mean, 1e-9);
  const auto needed = static_cast<int64_t>(std::ceil(worker_reserve * load.max / compute));
  if (workers >= 0 && needed <= workers)
    advice.push_back(fmt::format(
        "loading takes {:.3g} s of worker time a step, which {} should hide behind the {:.3g} s of "
        "the rest of the step: they do not run at the same time, so give the ranks more cores, or "
        "look for pauses of the storage",
        load.max, workers_text(workers), compute));
  else
    advice.push_back(fmt::format(
        "loading takes {:.3g} s of worker time a step, so {}{} would hide it behind the {:.3g} s "
        "of "
        "the rest of the step: up to {:.0f} % less time a step (data.workers={})",
        load.max, workers_text(needed), workers >= 0 ? fmt::format(" instead of {}", workers) : "",
        compute, percent(wait.mean / step), needed));
  return advice;
}

std::vector<std::string> advice_on_communication(const AdviceOn& run) {
  std::vector<std::string> advice;
  const double step = spread_over(run.rows, Item::step_seconds).mean;
  const telemetry::Spread exposed = spread_over(run.rows, Phase::comm_exposed);
  const double busy = spread_over(run.rows, Item::comm_busy_seconds).mean;
  const double hidden = spread_over(run.rows, Item::comm_hidden_seconds).mean;
  const double bytes = spread_over(run.rows, Item::comm_bytes).mean;
  if (step <= 0) return advice;
  // What is waited for beyond the transfers themselves is waiting for other ranks.
  if (exposed.mean > 1.5 * busy && run.rows.size() > 1) {
    advice.push_back(fmt::format(
        "of {:.3g} s that a step waits, transfers take {:.3g} s; the rest is waiting for ranks "
        "that "
        "come later: from {:.3g} s (rank {}) to {:.3g} s (rank {})",
        exposed.mean, busy, exposed.min, exposed.min_rank, exposed.max, exposed.max_rank));
  }
  const double transfers = std::min(exposed.mean, busy);
  if (busy > 0 && bytes > 0)
    advice.push_back(fmt::format(
        "{} a step travel at {}/s; {:.0f} % of the {:.3g} s that takes hides behind compute",
        bytes_text(bytes), bytes_text(bytes / busy), percent(std::min(1.0, hidden / busy)), busy));
  if (busy > 0 && hidden < hides_little * busy) {
    if (run.known.bucket_bytes > 0 && bytes > 0 && run.known.bucket_bytes > 0.25 * bytes)
      advice.push_back(
          fmt::format("buckets of {} start late for {} a step: parallel.bucket_mib={:.3g} gives at "
                      "least eight, "
                      "and up to {:.3g} s ({:.0f} % of the step) could hide behind backward",
                      bytes_text(run.known.bucket_bytes), bytes_text(bytes),
                      std::max(1.0, bytes / 8 / (1 << 20)), transfers, percent(transfers / step)));
    else if (run.rows.size() > 1)
      advice.push_back(fmt::format(
          "transfers and compute share the cores of a host where there is no GPU: a core less for "
          "compute, or a faster network, would let up to {:.3g} s ({:.0f} % of "
          "the step) hide",
          transfers, percent(transfers / step)));
  }
  if (run.known.reduce_type == "fp32")
    advice.push_back(fmt::format(
        "precision.reduce=bf16 halves what travels for gradients: up to {:.3g} s ({:.0f} %) "
        "less a step",
        transfers / 2, percent(transfers / 2 / step)));
  const int64_t accumulate = std::max<int64_t>(1, run.known.accumulate);
  advice.push_back(fmt::format(
      "train.accumulate={} instead of {} communicates once for twice the samples: up to {:.0f} % "
      "less time a sample, at twice the global batch",
      2 * accumulate, accumulate, percent(exposed.mean / 2 / step)));
  return advice;
}

std::vector<std::string> advice_on_checkpoints(const AdviceOn& run) {
  std::vector<std::string> advice;
  const double step = spread_over(run.rows, Item::step_seconds).mean;
  const double saving = spread_over(run.rows, Phase::checkpoint).mean;
  if (step <= 0) return advice;
  const double steps = spread_over(run.rows, Item::steps).max;
  if (run.known.checkpoint_async == false)
    advice.push_back(fmt::format(
        "checkpoint.async=true writes while the steps go on: most of {:.3g} s a step ({:.0f} %)",
        saving, percent(saving / step)));
  if (run.known.checkpoint_staged == false)
    advice.push_back(fmt::format(
        "checkpoint.staging_dir on a fast local disk frees the memory of a checkpoint sooner, so "
        "that the next one does not wait for the one before ({:.3g} s over {:.0f} steps)",
        saving * steps, steps));
  advice.push_back(fmt::format(
      "twice checkpoint.every_steps saves {:.3g} s a step ({:.0f} %), and loses twice the work if "
      "the run is killed",
      saving / 2, percent(saving / 2 / step)));
  return advice;
}

std::vector<std::string> advice_on_overhead(const AdviceOn& run) {
  std::vector<std::string> advice;
  const double other = spread_over(run.rows, Phase::other).mean;
  const double syncs = spread_over(run.rows, Item::host_syncs).mean;
  const double sync_seconds = spread_over(run.rows, Item::host_sync_seconds).mean;
  if (syncs > 0)
    advice.push_back(
        fmt::format("the host waits for the device {:.3g} times a step, {:.3g} s, where this "
                    "program does; readings of a value (item(), a copy to the CPU) in the model or "
                    "a plugin come on top: the host_syncs in operators.json of a profile",
                    syncs, sync_seconds));
  advice.push_back(
      fmt::format("{:.3g} s a step lie outside of all phases: a trace (`trireme debug RUN enable "
                  "autograd_profiler`) shows what they are",
                  other));
  return advice;
}

std::vector<std::string> advice_on_straggler(const AdviceOn& run, int rank, Phase section,
                                             double seconds) {
  std::vector<std::string> advice;
  const auto index = static_cast<size_t>(rank);
  if (index >= run.rows.size()) return advice;
  const RankRow& row = run.rows[index];
  const double step = spread_over(run.rows, Item::step_seconds).mean;
  const std::string who = name_rank(rank, run.hosts);
  if (step > 0)
    advice.push_back(fmt::format(
        "without the {:.3g} s that {} loses in {}, a step of {:.3g} s would take up to "
        "{:.0f} % less for all ranks",
        seconds, who, telemetry::name_of(section), step, percent(std::min(1.0, seconds / step))));
  if (section == Phase::data) {
    const double load = row[index_of(Item::load_seconds)];
    std::vector<double> others;
    for (size_t r = 0; r < run.rows.size(); ++r)
      if (r != index && !std::isnan(run.rows[r][index_of(Item::load_seconds)]))
        others.push_back(run.rows[r][index_of(Item::load_seconds)]);
    advice.push_back(
        load > 0 && !others.empty()
            ? fmt::format("its loading takes {:.3g} s of worker time a step, that of the others "
                          "{:.3g} s: look at the disk, the network file system and the cores of "
                          "its host",
                          load, telemetry::median_of(others))
            : "look at the disk, the network file system and the cores of its host");
    return advice;
  }
  const double throttled = row[index_of(Item::throttled)];
  const double celsius = row[index_of(Item::celsius)];
  if (throttled > throttled_often)
    advice.push_back(fmt::format(
        "its device's clocks are held down in {:.0f} % of the samples, at {:.0f} C: look at its "
        "cooling and power limit",
        percent(throttled), celsius));
  else if (celsius > 0)
    advice.push_back(fmt::format(
        "its device is not throttled ({:.0f} C, {:.0f} % busy): look for other jobs on its host, "
        "and at the clocks it is set to",
        celsius, percent(row[index_of(Item::utilisation)])));
  else
    advice.push_back(
        "look for other jobs on its host, for clocks that are held down (heat, power), and whether "
        "its ranks are bound to cores of their own");
  if (section == Phase::other)
    advice.push_back("what it does there has no phase: a trace of this rank shows it");
  return advice;
}

std::vector<std::string> advice_on_leak(const AdviceOn& run, const Leak& leak) {
  std::vector<std::string> advice;
  const auto index = static_cast<size_t>(leak.rank);
  if (run.known.memory_capacity > 0 && index < run.rows.size()) {
    const double used =
        run.rows[index][index_of(leak.what == name_of(Item::allocated) ? Item::peak : Item::rss)];
    const double left = (run.known.memory_capacity - used) / leak.bytes_per_step;
    if (left > 0)
      advice.push_back(fmt::format("{} of {} are used: the rest lasts about {:.0f} steps",
                                   bytes_text(used), bytes_text(run.known.memory_capacity), left));
  }
  if (leak.what == name_of(Item::allocated))
    advice.push_back(
        "tensors are kept from step to step: a loss or output in a list or a static variable keeps "
        "its whole graph (detach() it, or keep item()); `trireme debug RUN enable memory_usage` "
        "names the unit");
  else
    advice.push_back(
        "tensors do not grow with it: look at what transforms, plugins and libraries keep on the "
        "host");
  return advice;
}

std::vector<std::string> advice_on_limits(const AdviceOn& run) {
  std::vector<std::string> advice;
  const telemetry::Spread peak = spread_over(run.rows, Item::peak);
  const double capacity = run.known.memory_capacity;
  if (capacity > 0 && peak.max > memory_is_full * capacity) {
    const RankRow& row = run.rows[static_cast<size_t>(peak.max_rank)];
    struct Cure {
      Item kind;
      std::string_view name;
      std::string_view strategies;  // that cut it over the ranks
      std::string_view what;
    };
    const std::array<Cure, 4> cures{{
        {Item::activations, "activations", "",
         "parallel.recompute=unit, or a smaller train.batch_size with train.global_batch kept, "
         "needs less"},
        {Item::optimizer_state, "optimizer state", "zero1 zero2 fsdp",
         "parallel.strategy=zero1 cuts it over the ranks"},
        {Item::gradients, "gradients", "zero2 fsdp",
         "parallel.strategy=zero2 cuts them over the ranks"},
        {Item::parameters, "parameters", "fsdp", "parallel.strategy=fsdp cuts them over the ranks"},
    }};
    const auto most =
        std::max_element(cures.begin(), cures.end(), [&](const Cure& a, const Cure& b) {
          const double of_a = row[index_of(a.kind)], of_b = row[index_of(b.kind)];
          return (std::isnan(of_a) ? 0 : of_a) < (std::isnan(of_b) ? 0 : of_b);
        });
    std::string text = fmt::format("memory of {} is nearly full: {} of {} ({:.0f} %)",
                                   name_rank(peak.max_rank, run.hosts), bytes_text(peak.max),
                                   bytes_text(capacity), percent(peak.max / capacity));
    if (const double part = row[index_of(most->kind)]; part > 0)
      text += fmt::format("; {} of it are {}: {}", bytes_text(part), most->name,
                          !run.known.strategy.empty() &&
                                  most->strategies.find(run.known.strategy) != most->strategies.npos
                              ? "more ranks would hold less each"
                              : most->what);
    advice.push_back(std::move(text));
  }
  const telemetry::Spread throttled = spread_over(run.rows, Item::throttled);
  if (throttled.max_rank >= 0 && throttled.max > throttled_often)
    advice.push_back(fmt::format(
        "the clocks of {} are held down in {:.0f} % of the samples ({:.0f} C): look at cooling and "
        "power limits",
        name_rank(throttled.max_rank, run.hosts), percent(throttled.max),
        run.rows[static_cast<size_t>(throttled.max_rank)][index_of(Item::celsius)]));
  return advice;
}

}  // namespace trireme::report
