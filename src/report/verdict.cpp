#include <trireme/report/verdict.h>
#include <trireme/telemetry/statistics.h>

#include "advice.h"
#include "percent.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace trireme::report {
namespace {

using telemetry::Phase;

// Our own choice: below these a run is as good as its model allows, above them a cure pays.
constexpr double straggler_excess = 0.20;
constexpr double straggler_waits = 0.05;
/// A straggler that the detector named makes the headline if it cost this part of the run.
constexpr double straggler_cost = 0.02;
constexpr double data_share = 0.15;
constexpr double comm_share = 0.20;
constexpr double checkpoint_share = 0.15;
constexpr double other_share = 0.30;

double share(const RankRow& row, Phase phase) {
  const double step = row[index_of(Item::step_seconds)];
  return step > 0 ? row[index_of(phase)] / step : 0;
}

struct Shares {
  std::array<double, telemetry::phase_count> mean{};
  std::array<int, telemetry::phase_count> worst_rank{};
  std::array<double, telemetry::phase_count> worst{};
};

Shares shares_of(std::span<const RankRow> rows) {
  Shares shares;
  std::vector<double> column(rows.size());
  for (size_t i = 0; i < telemetry::phase_count; ++i) {
    std::transform(rows.begin(), rows.end(), column.begin(),
                   [i](const RankRow& row) { return share(row, static_cast<Phase>(i)); });
    const telemetry::Spread spread = telemetry::spread_of(column);
    shares.mean[i] = spread.mean;
    shares.worst_rank[i] = spread.max_rank;
    shares.worst[i] = spread.max;
  }
  return shares;
}

struct NotFinite {
  int64_t count = 0, of = 0;
  int64_t first = -1;
};
NotFinite not_finite_of(std::span<const LossPoint> points) {
  NotFinite all;
  for (const LossPoint& point : points) {
    if (all.count == 0) all.first = point.first_not_finite;
    all.count += point.not_finite;
    all.of += point.count;
  }
  return all;
}

/// Single losses that are not finite are left out where guard.nonfinite says so, and the run goes
/// on: it is lost if the last ones are all so, or most of the last quarter.
bool lost_for_good(std::span<const LossPoint> points) {
  const size_t few = std::min<size_t>(3, points.size());
  const NotFinite last = not_finite_of(points.last(few));
  const NotFinite quarter = not_finite_of(points.last(std::max(few, points.size() / 4)));
  return last.of > 0 && (last.count == last.of || 2 * quarter.count > quarter.of);
}

/// The mean of the last tenth of the losses against the best mean of as many before. Losses fall,
/// and rise a little where they have nothing left to fall: one that runs away loses half of all it
/// had gained, far beyond what neighbouring windows differ.
std::optional<Verdict> diverging(std::span<const LossPoint> points) {
  Verdict verdict;
  verdict.kind = "diverging";
  verdict.advice = {
      "go back to a checkpoint from before the rise, with a smaller optim.lr, a longer "
      "schedule.warmup_steps, or train.max_grad_norm; `trireme debug RUN enable gradient_norms` "
      "names the parameters that grow first"};
  if (lost_for_good(points)) {
    const NotFinite bad = not_finite_of(points);
    verdict.text = fmt::format("DIVERGING: the loss is not finite, first at step {}", bad.first);
    verdict.evidence = {{"first_nonfinite_step", static_cast<double>(bad.first)},
                        {"nonfinite_losses", static_cast<double>(bad.count)}};
    return verdict;
  }
  std::vector<std::pair<int64_t, double>> losses;
  for (const LossPoint& point : points)
    if (std::isfinite(point.mean)) losses.emplace_back(point.step, point.mean);
  const size_t width = std::clamp<size_t>(losses.size() / 10, 1, 16);
  if (losses.size() < 4 * width + 4) return std::nullopt;
  const auto mean_at = [&](size_t begin) {
    double sum = 0;
    for (size_t i = begin; i < begin + width; ++i) sum += losses[i].second;
    return sum / static_cast<double>(width);
  };
  size_t best = 0;
  for (size_t i = 1; i + width < losses.size(); ++i)
    if (mean_at(i) < mean_at(best)) best = i;
  std::vector<double> changes;
  for (size_t i = 1; i < losses.size(); ++i)
    changes.push_back(std::abs(losses[i].second - losses[i - 1].second));
  const double first = mean_at(0), least = mean_at(best), last = mean_at(losses.size() - width);
  const double rise = last - least;
  // However much it jumps: twice where it began, ever since long ago.
  const auto late = std::min_element(losses.end() - static_cast<std::ptrdiff_t>(losses.size() / 4),
                                     losses.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const bool far_above = late->second > first + std::abs(first);
  const bool steady = rise >= 6 * telemetry::median_of(changes);
  if (rise < 0.5 * (first - least) || rise < 0.1 * std::abs(least) || (!steady && !far_above))
    return std::nullopt;
  const int64_t best_step = losses[best + width - 1].first;
  verdict.text = fmt::format(
      "DIVERGING: the loss was {:.4g} at step {}, and is {:.4g} now; it began at {:.4g}", least,
      best_step, last, first);
  verdict.evidence = {{"best_loss", least},
                      {"best_step", static_cast<double>(best_step)},
                      {"last_loss", last},
                      {"first_loss", first}};
  return verdict;
}

std::optional<Verdict> leak(const AdviceOn& run) {
  const std::vector<Leak>& leaks = run.known.leaks;
  if (leaks.empty()) return std::nullopt;
  const Leak& most = *std::max_element(
      leaks.begin(), leaks.end(),
      [](const Leak& a, const Leak& b) { return a.bytes_per_step < b.bytes_per_step; });
  Verdict verdict;
  verdict.kind = "leak";
  verdict.rank = most.rank;
  const double gained = most.bytes_per_step * static_cast<double>(most.to_step - most.from_step);
  verdict.text =
      fmt::format("LEAK: {} of {} grows by {:.3g} MiB a step since step {}, {:.0f} MiB so far",
                  most.what == name_of(Item::allocated) ? "memory of tensors" : "resident memory",
                  name_rank(most.rank, run.hosts), most.bytes_per_step / (1 << 20), most.from_step,
                  gained / (1 << 20));
  verdict.evidence = {{"bytes_per_step", most.bytes_per_step},
                      {"bytes", gained},
                      {"from_step", static_cast<double>(most.from_step)},
                      {"ranks", static_cast<double>(leaks.size())}};
  verdict.advice = advice_on_leak(run, most);
  return verdict;
}

std::vector<double> loads_of(std::span<const RankRow> rows) {
  std::vector<double> seconds(rows.size());
  std::transform(rows.begin(), rows.end(), seconds.begin(),
                 [](const RankRow& row) { return row[index_of(Item::load_seconds)]; });
  return seconds;
}

/// Where one rank's batches come last and the others wait for that rank, its shares are those of the
/// step.
bool data_holds_up(std::span<const RankRow> rows, size_t last) {
  const auto least = std::min_element(rows.begin(), rows.end(), [](const RankRow& a, const RankRow& b) {
    return a[index_of(Phase::comm_exposed)] < b[index_of(Phase::comm_exposed)];
  });
  return static_cast<size_t>(least - rows.begin()) == last && share(rows[last], Phase::data) >= data_share &&
         loads_like_the_others(loads_of(rows), last);
}

double waits_of_others(std::span<const RankRow> rows, size_t slow) {
  double waits = 0;
  for (size_t r = 0; r < rows.size(); ++r)
    if (r != slow)
      waits += share(rows[r], Phase::comm_exposed) / static_cast<double>(rows.size() - 1);
  return waits;
}

Verdict straggler_verdict(const AdviceOn& run, const Straggler& slow, std::string_view when) {
  const double waits = waits_of_others(run.rows, static_cast<size_t>(slow.rank));
  Verdict verdict;
  verdict.kind = "straggler";
  verdict.rank = slow.rank;
  verdict.text = fmt::format(
      "STRAGGLER: {} works {:.0f} % longer than the others, mostly in {} (+{:.3g} s a step{}); "
      "they wait {:.0f} % of the step",
      name_rank(slow.rank, run.hosts), percent(slow.excess), telemetry::name_of(slow.section),
      slow.seconds, when, percent(waits));
  verdict.evidence = {
      {"excess", slow.excess},
      {std::string(telemetry::name_of(slow.section)) + "_excess_seconds", slow.seconds},
      {"others_comm_exposed_share", waits}};
  verdict.advice = advice_on_straggler(run, slow.rank, slow.section, slow.seconds);
  return verdict;
}

double steps_of(std::span<const RankRow> rows) {
  double steps = 0;
  for (const RankRow& row : rows) steps = std::max(steps, row[index_of(Item::steps)]);
  return steps;
}

/// Of those that the detector named, the one that cost most.
std::optional<Verdict> named_straggler(const AdviceOn& run) {
  const auto cost = [](const Straggler& one) {
    return one.seconds * static_cast<double>(one.to_step - one.from_step + 1);
  };
  const std::vector<Straggler>& named = run.known.stragglers;
  const auto most = std::max_element(
      named.begin(), named.end(),
      [&](const Straggler& a, const Straggler& b) { return cost(a) < cost(b); });
  if (most == named.end() || most->rank < 0 || static_cast<size_t>(most->rank) >= run.rows.size())
    return std::nullopt;
  const double step = run.rows[static_cast<size_t>(most->rank)][index_of(Item::step_seconds)];
  if (cost(*most) < straggler_cost * step * steps_of(run.rows)) return std::nullopt;
  return straggler_verdict(run, *most,
                           fmt::format(", steps {} to {}", most->from_step, most->to_step));
}

/// Of a run in which the detector could not name one yet.
std::optional<Verdict> early_straggler(const AdviceOn& run) {
  const auto& [rows, hosts, known] = run;
  if (steps_of(rows) >= static_cast<double>(StragglerDetector::steps_to_name)) return std::nullopt;
  std::vector<double> working = known.working_seconds;
  if (working.size() != rows.size()) {
    working.resize(rows.size());
    std::transform(rows.begin(), rows.end(), working.begin(), typical_working_of);
  }
  const Slowest slowest = slowest_among(working);
  if (slowest.rank < 0 || slowest.excess < straggler_excess) return std::nullopt;
  const auto slow = static_cast<size_t>(slowest.rank);
  if (waits_of_others(rows, slow) < straggler_waits) return std::nullopt;
  Straggler found{.rank = slowest.rank, .excess = slowest.excess};
  for (size_t i = 0; i < telemetry::phase_count; ++i) {
    if (static_cast<Phase>(i) == Phase::comm_exposed) continue;
    std::vector<double> others;
    for (size_t r = 0; r < rows.size(); ++r)
      if (r != slow) others.push_back(rows[r][i]);
    const double excess = rows[slow][i] - telemetry::median_of(others);
    if (excess <= found.seconds) continue;
    found.seconds = excess;
    found.section = static_cast<Phase>(i);
  }
  if (found.section == Phase::data && loads_like_the_others(loads_of(rows), slow))
    return std::nullopt;
  return straggler_verdict(run, found, "");
}

std::optional<Verdict> straggler(const AdviceOn& run) {
  return run.known.stragglers.empty() ? early_straggler(run) : named_straggler(run);
}

struct Suspect {
  Phase phase;
  double threshold;
  std::string_view kind;
  std::string_view what;
};
constexpr std::array<Suspect, 4> suspects{{
    {Phase::data, data_share, "input-bound", "INPUT-BOUND: {:.0f} % of the step waits for data"},
    {Phase::comm_exposed, comm_share, "communication-bound",
     "COMMUNICATION-BOUND: {:.0f} % of the step waits for communication"},
    {Phase::checkpoint, checkpoint_share, "checkpoint-bound",
     "CHECKPOINT-BOUND: {:.0f} % of the step waits for checkpoints"},
    {Phase::other, other_share, "overhead-bound",
     "OVERHEAD-BOUND: {:.0f} % of the step is outside of all phases"},
}};

std::vector<std::string> advice_on(const AdviceOn& run, Phase phase) {
  switch (phase) {
    case Phase::data:
      return advice_on_data(run);
    case Phase::comm_exposed:
      return advice_on_communication(run);
    case Phase::checkpoint:
      return advice_on_checkpoints(run);
    default:
      return advice_on_overhead(run);
  }
}

/// What most of the step goes to, of all ranks alike.
Verdict bound(const AdviceOn& run) {
  const auto& [rows, hosts, known] = run;
  Shares shares = shares_of(rows);
  const auto last = static_cast<size_t>(std::max(0, shares.worst_rank[index_of(Phase::data)]));
  if (rows.size() > 1 && data_holds_up(rows, last))
    for (size_t i = 0; i < telemetry::phase_count; ++i) shares.mean[i] = share(rows[last], static_cast<Phase>(i));
  Verdict verdict;
  for (size_t i = 0; i < telemetry::phase_count; ++i)
    verdict.evidence.emplace_back(std::string(telemetry::phase_names[i]) + "_share",
                                  shares.mean[i]);

  const Suspect* worst = nullptr;
  for (const Suspect& suspect : suspects) {
    const double part = shares.mean[index_of(suspect.phase)];
    if (part < suspect.threshold) continue;
    const auto more = advice_on(run, suspect.phase);
    if (worst == nullptr || part > shares.mean[index_of(worst->phase)]) {
      worst = &suspect;
      verdict.advice.insert(verdict.advice.begin(), more.begin(), more.end());
    } else {
      verdict.advice.insert(verdict.advice.end(), more.begin(), more.end());
    }
  }
  if (worst == nullptr) {
    const auto part = [&](Phase phase) {
      return percent(shares.mean[index_of(phase)]);
    };
    verdict.kind = "compute-bound";
    const double graph = part(Phase::graph);
    verdict.text = fmt::format(
        "COMPUTE-BOUND: {:.0f} % of the step computes (forward {:.0f} %, backward {:.0f} %, "
        "optimizer {:.0f} %{})",
        part(Phase::forward) + part(Phase::backward) + part(Phase::optimizer) + graph,
        part(Phase::forward), part(Phase::backward), part(Phase::optimizer),
        graph > 0 ? fmt::format(", all of these as one graph {:.0f} %", graph) : "");
    return verdict;
  }
  const size_t i = index_of(worst->phase);
  verdict.kind = worst->kind;
  verdict.text = fmt::format(fmt::runtime(worst->what), percent(shares.mean[i]));
  if (rows.size() > 1) {
    verdict.rank = shares.worst_rank[i];
    verdict.text += fmt::format("; most on {}: {:.0f} %", name_rank(verdict.rank, hosts),
                                percent(shares.worst[i]));
  }
  return verdict;
}

}  // namespace

Verdict judge(std::span<const RankRow> rows, std::span<const std::string> hosts,
              const Circumstances& known) {
  const AdviceOn run{rows, hosts, known};
  const bool measured = std::any_of(rows.begin(), rows.end(), [](const RankRow& row) {
    return row[index_of(Item::step_seconds)] > 0;
  });
  if (!measured) return {"unknown", "no step was measured", -1, {}, {}};

  std::optional<Verdict> verdict;
  std::vector<std::string> also;
  const auto take = [&](std::optional<Verdict> found) {
    if (!found) return;
    if (verdict) {
      also.push_back("also " + found->text);
      also.insert(also.end(), found->advice.begin(), found->advice.end());
    } else {
      verdict = std::move(found);
    }
  };
  take(diverging(known.losses));
  take(leak(run));
  std::optional<Verdict> slowest = straggler(run);
  const int told = slowest ? slowest->rank : -1;
  take(std::move(slowest));
  if (!verdict) verdict = bound(run);
  if (const NotFinite bad = not_finite_of(known.losses);
      bad.count > 0 && verdict->kind != "diverging")
    also.push_back(fmt::format(
        "{} of {} logged losses {} not finite, the first at step {}, and the run went on: a smaller "
        "optim.lr, train.max_grad_norm, or bf16 instead of fp16 makes them rarer",
        bad.count, bad.of, bad.count == 1 ? "was" : "were", bad.first));
  for (const Straggler& slow : known.stragglers)
    if (slow.rank != told)
      also.push_back(
          fmt::format("{} worked {:.0f} % longer than the others from step {} to {}, "
                      "mostly in {} (+{:.3g} s a step)",
                      name_rank(slow.rank, hosts), percent(slow.excess), slow.from_step,
                      slow.to_step, telemetry::name_of(slow.section), slow.seconds));
  for (std::string& sentence : advice_on_limits(run)) also.push_back(std::move(sentence));
  verdict->advice.insert(verdict->advice.end(), also.begin(), also.end());
  return *verdict;
}

}  // namespace trireme::report
