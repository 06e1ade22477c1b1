#include <trireme/core/error.h>
#include <trireme/report/scaling.h>

#include "percent.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include <fmt/format.h>

namespace trireme::report {
namespace {

using telemetry::Phase;

// Our own choices.
constexpr double as_many = 0.01;         // samples that differ by less are the same
constexpr double good_efficiency = 0.9;  // above it there is nothing to explain
constexpr double better_than_linear = 1.05;
constexpr double part_of_the_loss = 0.2;  // that a phase has which is named
constexpr size_t most_named = 2;
constexpr double share_that_grows = 0.02;
constexpr int64_t fewest_windows = 3;
/// Strong and weak scaling differ in these; lengths do not matter.
constexpr std::array<std::string_view, 5> expected_to_differ{
    "train.batch_size", "train.accumulate", "train.global_batch", "train.steps", "train.epochs"};

double samples_per_rank(const ScalingRun& run) {
  return run.samples_per_step / run.ranks;
}

template <class Of>
bool all_alike(const std::vector<ScalingRun>& runs, const Of& of) {
  const auto [least, most] = std::ranges::minmax(runs, {}, of);
  return of(most) <= (1 + as_many) * of(least);
}

Scaling::Kind kind_of(const std::vector<ScalingRun>& runs) {
  if (all_alike(runs, [](const ScalingRun& run) { return run.samples_per_step; }))
    return Scaling::Kind::strong;
  return all_alike(runs, samples_per_rank) ? Scaling::Kind::weak : Scaling::Kind::neither;
}

/// A rank that has half the samples should take half the time for them.
std::vector<ScalingLoss> losses_of(const ScalingRun& base, const ScalingRun& run) {
  const double work = samples_per_rank(run) / samples_per_rank(base);
  std::vector<ScalingLoss> losses;
  for (size_t i = 0; i < telemetry::phase_count; ++i) {
    const double expected = base.shares[i] * base.step_seconds * work;
    const double seconds = run.shares[i] * run.step_seconds - expected;
    if (seconds > 0)
      losses.push_back({.phase = static_cast<Phase>(i),
                        .seconds = seconds,
                        .from_share = base.shares[i],
                        .to_share = run.shares[i],
                        .expected_seconds = expected});
  }
  std::ranges::stable_sort(losses, std::ranges::greater(), &ScalingLoss::seconds);
  return losses;
}

std::string_view words_of(Phase phase) {
  switch (phase) {
    case Phase::data:
      return "the wait for data";
    case Phase::comm_exposed:
      return "exposed communication";
    case Phase::optimizer:
      return "the optimizer";
    case Phase::graph:
      return "the repeated step";
    case Phase::checkpoint:
      return "saving";
    case Phase::other:
      return "what belongs to no phase";
    default:
      return telemetry::name_of(phase);
  }
}

std::string cause_of(const ScalingLoss& loss) {
  if (loss.to_share - loss.from_share >= share_that_grows)
    return fmt::format("{} grows from {:.0f} % to {:.0f} % of the step", words_of(loss.phase),
                       percent(loss.from_share), percent(loss.to_share));
  return fmt::format("{} takes {:.1f} ms a step where its part of the work should take {:.1f} ms",
                     words_of(loss.phase), 1e3 * (loss.seconds + loss.expected_seconds),
                     1e3 * loss.expected_seconds);
}

std::string verdict_of(const Scaling& scaling) {
  const Scaling::Row& base = scaling.rows.front();
  const Scaling::Row& last = scaling.rows.back();
  const std::string at =
      fmt::format("{:.0f} % at {} ranks", percent(last.efficiency), last.run.ranks);
  if (last.efficiency > better_than_linear)
    return fmt::format("faster than its ranks explain: efficiency {}", at);
  if (last.efficiency >= good_efficiency) return fmt::format("scales well: efficiency {}", at);
  const double work = samples_per_rank(last.run) / samples_per_rank(base.run);
  const double lost = last.run.step_seconds - base.run.step_seconds * work;
  std::string causes;
  size_t named = 0;
  for (const ScalingLoss& loss : scaling.losses)
    if (named < most_named && loss.seconds >= part_of_the_loss * lost)
      causes += (named++ == 0 ? ": " : ", and ") + cause_of(loss);
  return fmt::format("efficiency falls to {}{}", at,
                     causes.empty() ? "; no phase has most of what is lost" : causes);
}

void compare_configurations(Scaling& scaling) {
  std::set<std::string> keys;
  for (const Scaling::Row& row : scaling.rows)
    for (const auto& [key, value] : row.run.configuration) keys.insert(key);
  for (const std::string& key : keys) {
    if (std::ranges::find(expected_to_differ, key) != expected_to_differ.end()) continue;
    std::vector<std::string> values;
    for (const Scaling::Row& row : scaling.rows) {
      const auto found = row.run.configuration.find(key);
      values.push_back(found == row.run.configuration.end() ? "absent" : found->second);
    }
    if (std::ranges::adjacent_find(values, std::ranges::not_equal_to()) != values.end())
      scaling.configuration.emplace_back(key, std::move(values));
  }
}

std::vector<std::string> notes_on(const Scaling& scaling) {
  std::vector<std::string> notes;
  if (scaling.kind == Scaling::Kind::neither)
    notes.emplace_back(
        "neither strong nor weak scaling: the runs differ in samples a step and in samples a step "
        "of a rank, so that part of the difference is that of their batches");
  for (const Scaling::Row& row : scaling.rows)
    if (row.run.windows < fewest_windows)
      notes.push_back(fmt::format("too short to judge: {} has {} logged window{}", row.run.path,
                                  row.run.windows, row.run.windows == 1 ? "" : "s"));
  if (!scaling.configuration.empty()) {
    constexpr size_t most_shown = 5;
    std::string names;
    for (size_t i = 0; i < std::min(most_shown, scaling.configuration.size()); ++i)
      names += (i == 0 ? "" : ", ") + scaling.configuration[i].first;
    notes.push_back(fmt::format("the runs differ in more than ranks and batches: {}{}", names,
                                scaling.configuration.size() > most_shown ? ", ..." : ""));
  }
  return notes;
}

}  // namespace

Scaling scaling_of(std::vector<ScalingRun> runs) {
  if (runs.size() < 2)
    throw Error(ErrorKind::usage, "one run does not tell how it scales",
                "give runs on different numbers of ranks: trireme report --scaling RUN1 RUN2 ...");
  std::ranges::stable_sort(runs, {}, &ScalingRun::ranks);
  const auto twice = std::ranges::adjacent_find(runs, {}, &ScalingRun::ranks);
  if (twice != runs.end())
    throw Error(ErrorKind::usage,
                fmt::format("{} and {} both ran on {} rank{}", twice->path, (twice + 1)->path,
                            twice->ranks, twice->ranks == 1 ? "" : "s"),
                "give one run of each number of ranks; --compare tells two runs apart");
  Scaling scaling;
  scaling.kind = kind_of(runs);
  const ScalingRun base = runs.front();
  for (ScalingRun& run : runs) {
    Scaling::Row row{.run = std::move(run)};
    row.speed_up = row.run.samples_per_second / base.samples_per_second;
    row.efficiency = row.speed_up * base.ranks / row.run.ranks;
    scaling.rows.push_back(std::move(row));
  }
  scaling.losses = losses_of(scaling.rows.front().run, scaling.rows.back().run);
  scaling.text = verdict_of(scaling);
  compare_configurations(scaling);
  scaling.notes = notes_on(scaling);
  return scaling;
}

}  // namespace trireme::report
