#include "trainer/parameter_figures.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include "debug/digest.h"
#include "report/json_in.h"

namespace trireme::trainer {
namespace {

using nlohmann::json;

/// What stands under `key` in the digests of a switch, each {parameter: figure}: of one rank, or of all where they hold parts, then
/// without those that are copies of others' parts.
std::vector<const json*> heard(const std::vector<json>& digests, const char* key) {
  const auto is_copy = [](const json& digest) { return digest.contains("copy"); };
  const bool only_copies = std::ranges::all_of(digests, is_copy);
  std::vector<const json*> all;
  for (const json& digest : digests) {
    if (is_copy(digest) && !only_copies) continue;
    if (const auto found = digest.find(key); found != digest.end() && found->is_object()) all.push_back(&*found);
  }
  const bool parts = std::ranges::any_of(digests, [](const json& digest) { return digest.contains("of"); });
  if (!parts && all.size() > 1) all.erase(all.begin() + 1, all.end());
  return all;
}

void add_logarithm(ParameterFigure& figure, double value) {
  if (value > 0 && std::isfinite(value)) figure.logarithms.push_back(std::log10(value));
}

int64_t step_of(const std::vector<json>& digests) {
  int64_t step = 0;
  for (const json& digest : digests) step = std::max(step, report::integer_in(digest, "step").value_or(0));
  return step;
}

/// The squares of parts add up.
ParameterFigure gradient_norms(const std::vector<json>& digests) {
  ParameterFigure figure{.tag = "debug/gradient_norms_log10", .step = step_of(digests), .logarithms = {}};
  std::map<std::string, double> squares;
  for (const json* norms : heard(digests, "norms"))
    for (const auto& [name, norm] : norms->items())
      if (norm.is_number()) squares[name] += norm.get<double>() * norm.get<double>();
  for (const auto& [name, square] : squares) add_logarithm(figure, std::sqrt(square));
  return figure;
}

ParameterFigure update_ratios(const std::vector<json>& digests) {
  ParameterFigure figure{.tag = "debug/update_ratios_log10", .step = step_of(digests), .logarithms = {}};
  for (const json* ratios : heard(digests, "update_ratios"))
    for (const auto& [name, ratio] : ratios->items())
      if (ratio.is_number()) add_logarithm(figure, ratio.get<double>());
  return figure;
}

}  // namespace

std::vector<ParameterFigure> parameter_figures(std::span<const std::string> by_rank) {
  std::map<debug::Switch, std::vector<json>> digests;
  for (const std::string& text : by_rank)
    for (auto& [which, one] : debug::read_digest(text))
      if (one.digest.is_object()) digests[which].push_back(std::move(one.digest));
  std::vector<ParameterFigure> figures;
  figures.push_back(gradient_norms(digests[debug::Switch::gradient_norms]));
  figures.push_back(update_ratios(digests[debug::Switch::backward_pass]));
  std::erase_if(figures, [](const ParameterFigure& one) { return one.logarithms.empty(); });
  return figures;
}

}  // namespace trireme::trainer
