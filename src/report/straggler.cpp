#include <trireme/report/straggler.h>
#include <trireme/telemetry/statistics.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace trireme::report {
namespace {

using telemetry::Phase;

// Constants are our own; straggler_test.cpp counts what they miss and what they make up.

/// Steps of a block: four whole ones lie in 50 steps, wherever a rank begins to be slow.
constexpr double block_steps = 10;
/// A rank counts as slow above this. Halfway between 0 and the 20 % that have to be named, and so
/// far above 5 to 10 %, which come from data, placement and cooling, that the margin below decides.
constexpr double floor_excess = 0.10;
/// In a run of slow blocks, one in which noise hides a part of it.
constexpr double least_excess = 0.06;
/// Three slow blocks one after the other are no spike, save, collection or busy neighbour.
constexpr size_t fewest_blocks = 3;
/// And more where ranks that nobody calls slow have such blocks: of 1 % of the blocks, two more.
constexpr double blocks_a_slow_one = 200;
constexpr double most_needed_blocks = 20;
/// Later blocks than these replace earlier ones, so that an excess that creeps up is seen.
constexpr size_t most_blocks = 5;
/// By so many standard errors the mean excess must be above the floor. With 2 ranks and 5 % of
/// noise a step, a block has 2.3 %: 20 % are clear after 3 or 4 blocks, and 10 % never.
constexpr double errors_above_floor = 4.2;
/// A block of a quiet run may scatter so much by chance.
constexpr double least_jitter = 0.01;
/// The excess must be so many times what the ranks' excesses wander (slow noise of nodes:
/// neighbours, clocks), which is known after `blocks_to_know` of them.
constexpr double wanders_above = 6;
constexpr size_t blocks_to_know = 16;
/// And so many times what the other ranks differ among each other: uneven data.
constexpr double scatters = 4;
constexpr size_t ranks_to_know = 4;
/// With so many ranks, a quarter of which are as slow, a group of them differs (a node), not one.
constexpr size_t ranks_with_groups = 8;
constexpr double most_over_middle = 1.2;
/// What is measured over a few blocks is believed as if eight quiet ones had come before.
constexpr double quiet_noise = 0.02;
constexpr double quiet_blocks = 8;
constexpr size_t kept_blocks = 64;
/// From the median absolute deviation to the standard deviation of normal noise.
constexpr double deviation_of_mad = 1.4826;

/// By element, the median of all others.
std::vector<double> medians_of_others(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  const size_t others = values.size() - 1;
  std::vector<double> medians(values.size());
  for (size_t place = 0; place < order.size(); ++place) {
    const auto other = [&](size_t n) {
      return values[order[n < place ? n : n + 1]];
    };
    medians[order[place]] = (other((others - 1) / 2) + other(others / 2)) / 2;
  }
  return medians;
}

double scatter_of(std::vector<double> values) {
  const double middle = telemetry::median_of(values);
  for (double& value : values) value = std::abs(value - middle);
  return deviation_of_mad * telemetry::median_of(values);
}

double believed(double noise, size_t blocks) {
  const auto count = static_cast<double>(blocks);
  return std::sqrt((count * noise * noise + quiet_blocks * quiet_noise * quiet_noise) /
                   (count + quiet_blocks));
}

/// The deviation of normal values, of which the fifth that is farthest from 0 may be anything:
/// twice as exact as the median of so few.
double deviation_without_jumps(std::vector<double> values) {
  constexpr double kept_deviation = 0.6616;  // of a normal value that is within 80 %
  constexpr size_t fewest = 4;               // all of them count where there are less
  std::sort(values.begin(), values.end());
  const bool trims = values.size() >= fewest;
  if (trims) values.resize(values.size() - (values.size() + 2) / 5);
  double sum = 0;
  for (const double value : values) sum += value * value;
  const double deviation = std::sqrt(sum / std::max(1.0, static_cast<double>(values.size())));
  return trims ? deviation / kept_deviation : deviation;
}

}  // namespace

std::optional<Straggler> StragglerDetector::observe(std::span<const RankRow> rows, int64_t step) {
  if (rows.size() < 2) return std::nullopt;
  if (active_.size() != rows.size()) active_.assign(rows.size(), -1);
  double steps = 1;
  for (const RankRow& row : rows) steps = std::max(steps, row[index_of(Item::steps)]);
  if (blocks_.empty() && open_.empty()) last_step_ = step - static_cast<int64_t>(steps);
  if (steps_ < steps_to_name) {
    early_.resize(rows.size());
    for (size_t rank = 0; rank < rows.size(); ++rank)
      early_[rank].push_back(typical_working_of(rows[rank]));
  }
  steps_ += steps;
  open_.emplace_back(rows.begin(), rows.end());
  open_steps_ += steps;
  if (open_steps_ < block_steps) return std::nullopt;

  Block block = close_block();
  block.last_step = step;
  last_step_ = step;
  blocks_.push_back(std::move(block));
  if (blocks_.size() > kept_blocks) blocks_.pop_front();

  for (size_t rank = 0; rank < rows.size(); ++rank)
    if (active_[rank] < 0) {
      ++seen_;
      slow_ += blocks_.back().excess[rank] >= floor_excess ? 1 : 0;
    }

  std::optional<Straggler> worst;
  for (size_t rank = 0; rank < rows.size(); ++rank) {
    const size_t run = run_of(rank);
    if (int& active = active_[rank]; active >= 0) {
      const bool over =
          run == 0 && blocks_.size() > 1 && blocks_[blocks_.size() - 2].excess[rank] < floor_excess;
      if (run > 0) found_[static_cast<size_t>(active)].to_step = step;
      if (over) active = -1;
      continue;
    }
    if (run < fewest_blocks) continue;
    const std::optional<Straggler> slow = judge_rank(rank, run);
    if (slow && (!worst || slow->excess > worst->excess)) worst = slow;
  }
  if (worst) {
    slow_ -= std::min(slow_, run_of(static_cast<size_t>(worst->rank)));
    active_[static_cast<size_t>(worst->rank)] = static_cast<int>(found_.size());
    found_.push_back(*worst);
  }
  return worst;
}

std::vector<double> StragglerDetector::early_working() const {
  std::vector<double> working;
  for (const std::vector<double>& windows : early_) working.push_back(typical_of(windows));
  return working;
}

StragglerDetector::Block StragglerDetector::close_block() {
  const size_t ranks = active_.size();
  Block block;
  block.first_step = last_step_ + 1;
  block.phases.resize(ranks);
  block.load_seconds.resize(ranks);
  std::vector<double> work(ranks), of_windows(open_.size());
  for (size_t rank = 0; rank < ranks; ++rank) {
    for (size_t i = 0; i < open_.size(); ++i) {
      const RankRow& row = open_[i][rank];
      of_windows[i] = typical_working_of(row);
      block.load_seconds[rank] += row[index_of(Item::load_seconds)] / static_cast<double>(open_.size());
      for (size_t phase = 0; phase < telemetry::phase_count; ++phase)
        block.phases[rank][phase] += row[phase] / static_cast<double>(open_.size());
    }
    work[rank] = typical_of(of_windows);
  }
  const std::vector<double> usual = medians_of_others(work);
  for (size_t rank = 0; rank < ranks; ++rank)
    block.excess.push_back(usual[rank] > 0 ? work[rank] / usual[rank] - 1 : 0);
  open_.clear();
  open_steps_ = 0;
  return block;
}

size_t StragglerDetector::run_of(size_t rank) const {
  size_t run = 0;
  while (run < blocks_.size() && blocks_[blocks_.size() - 1 - run].excess[rank] >= least_excess)
    ++run;
  return run;
}

StragglerDetector::Noise StragglerDetector::noise_of(size_t rank, size_t run) const {
  const size_t before = blocks_.size() - run;
  const auto of = [&](size_t one) {
    std::vector<double> changes, levels;
    for (size_t b = 1; b < blocks_.size(); ++b)
      changes.push_back(std::abs(blocks_[b].excess[one] - blocks_[b - 1].excess[one]));
    for (size_t b = 0; b < before; ++b) levels.push_back(blocks_[b].excess[one]);
    const double wander = scatter_of(levels);
    return Noise{believed(deviation_without_jumps(changes) / std::sqrt(2.0), changes.size()),
                 before < blocks_to_know ? 0 : wander};
  };
  std::vector<double> jitters, wanders;
  const size_t stride = 1 + active_.size() / 32;  // a few ranks show what is usual
  for (size_t one = 0; one < active_.size(); one += stride) {
    const Noise noise = of(one);
    jitters.push_back(noise.jitter);
    wanders.push_back(noise.wander);
  }
  const Noise own = of(rank);
  return {std::max(own.jitter, telemetry::median_of(jitters)),
          std::max(own.wander, telemetry::median_of(wanders))};
}

double StragglerDetector::lost_in(size_t phase, size_t rank, size_t blocks) const {
  std::vector<double> lost;
  for (size_t b = blocks_.size() - blocks; b < blocks_.size(); ++b) {
    std::vector<double> others;
    for (size_t r = 0; r < active_.size(); ++r)
      if (r != rank) others.push_back(blocks_[b].phases[r][phase]);
    lost.push_back(blocks_[b].phases[rank][phase] - telemetry::median_of(others));
  }
  return telemetry::median_of(lost);
}

std::optional<Straggler> StragglerDetector::judge_rank(size_t rank, size_t run) const {
  const double usually_slow =
      static_cast<double>(slow_ - std::min(slow_, run)) /
      static_cast<double>(std::max<size_t>(1, seen_ - std::min(seen_, run)));
  if (static_cast<double>(run) <
      std::min(fewest_blocks + blocks_a_slow_one * usually_slow, most_needed_blocks))
    return std::nullopt;
  const size_t blocks = std::min(run, most_blocks);
  const auto mean_of = [&](size_t of) {
    double sum = 0;
    for (size_t b = blocks_.size() - blocks; b < blocks_.size(); ++b) sum += blocks_[b].excess[of];
    return sum / static_cast<double>(blocks);
  };
  std::vector<double> latest;
  for (size_t b = blocks_.size() - blocks; b < blocks_.size(); ++b)
    latest.push_back(blocks_[b].excess[rank]);
  // The mean, unless one block is much slower than the others.
  const double middle = telemetry::median_of(latest);
  const double excess = std::min(mean_of(rank), most_over_middle * middle);
  if (middle < floor_excess) return std::nullopt;
  const Noise noise = noise_of(rank, run);
  if (excess < floor_excess + errors_above_floor * std::max(noise.jitter, least_jitter) /
                                  std::sqrt(static_cast<double>(blocks)))
    return std::nullopt;
  if (excess < wanders_above * noise.wander) return std::nullopt;
  if (active_.size() >= ranks_to_know) {
    std::vector<double> others;
    for (size_t r = 0; r < active_.size(); ++r)
      if (r != rank) others.push_back(mean_of(r));
    if (excess < scatters * scatter_of(others)) return std::nullopt;
    const auto as_slow = std::count_if(others.begin(), others.end(),
                                       [excess](double other) { return other > excess / 2; });
    if (others.size() + 1 >= ranks_with_groups && 4 * static_cast<size_t>(as_slow) > others.size())
      return std::nullopt;
  }

  Straggler slow;
  slow.rank = static_cast<int>(rank);
  slow.excess = excess;
  slow.from_step = blocks_[blocks_.size() - run].first_step;
  slow.to_step = blocks_.back().last_step;
  for (size_t phase = 0; phase < telemetry::phase_count; ++phase) {
    if (phase == index_of(Phase::comm_exposed) || phase == index_of(Phase::checkpoint)) continue;
    const double lost = lost_in(phase, rank, blocks);
    if (lost <= slow.seconds) continue;
    slow.seconds = lost;
    slow.section = static_cast<Phase>(phase);
  }
  if (slow.section == Phase::data && loads_like_the_others(blocks_.back().load_seconds, rank)) return std::nullopt;
  return slow;
}

}  // namespace trireme::report
