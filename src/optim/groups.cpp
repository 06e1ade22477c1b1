#include <trireme/core/error.h>
#include <trireme/optim/groups.h>

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace trireme::optim {

namespace {

// Levenshtein's distance: how many characters to change, insert or remove.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

std::string nearest_names(std::string_view pattern, const core::ParameterSet& parameters) {
  std::vector<std::pair<size_t, std::string>> near;
  for (const core::Parameter& p : parameters)
    near.emplace_back(edit_distance(pattern, p.name), p.name);
  std::stable_sort(near.begin(), near.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  near.resize(std::min<size_t>(near.size(), 3));
  std::string text;
  for (const auto& [distance, name] : near) text += (text.empty() ? "" : ", ") + name;
  return text;
}

bool fits_any(const GroupConfig& group, const core::ParameterSet& parameters) {
  return std::any_of(parameters.begin(), parameters.end(),
                     [&](const core::Parameter& p) { return matches(group.match, p.name); });
}

[[noreturn]] void refuse_group(const OptimConfig& config, size_t index,
                               const core::ParameterSet& parameters) {
  const GroupConfig& group = config.groups[index];
  if (fits_any(group, parameters))
    throw Error(ErrorKind::configuration,
                fmt::format("optim.groups[{}]: every parameter that '{}' fits belongs to an "
                            "earlier group already",
                            index, group.match),
                "put the group before the one that takes its parameters, or remove it");
  throw Error(
      ErrorKind::configuration,
      fmt::format("optim.groups[{}]: '{}' fits no parameter of the model", index, group.match),
      "the nearest names are " + nearest_names(group.match, parameters));
}

}  // namespace

bool matches(std::string_view pattern, std::string_view name) {
  // On a mismatch, let the last star take one character more.
  size_t p = 0, n = 0, star = std::string_view::npos, taken = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::vector<ParameterSettings> plan_groups(const OptimConfig& config,
                                           const core::ParameterSet& parameters) {
  std::vector<ParameterSettings> settings;
  std::vector<bool> used(config.groups.size(), false);
  for (const core::Parameter& p : parameters) {
    const bool decays = config.decay_all || p.shape().size() >= 2;
    ParameterSettings& own = settings.emplace_back();
    own.weight_decay = decays ? config.weight_decay : 0.0;
    for (size_t i = 0; i < config.groups.size(); ++i) {
      const GroupConfig& group = config.groups[i];
      if (!matches(group.match, p.name)) continue;
      used[i] = true;
      own.lr_scale = group.lr_scale;
      own.weight_decay = group.weight_decay.value_or(own.weight_decay);
      own.frozen = group.frozen;
      break;
    }
  }
  for (size_t i = 0; i < used.size(); ++i)
    if (!used[i]) refuse_group(config, i, parameters);
  if (std::all_of(settings.begin(), settings.end(), [](const auto& s) { return s.frozen; }))
    throw Error(ErrorKind::configuration, "optim: no parameter is left to train",
                "let at least one group of optim.groups be trained");
  return settings;
}

std::set<std::string> frozen_names(const OptimConfig& config,
                                   const core::ParameterSet& parameters) {
  const std::vector<ParameterSettings> settings = plan_groups(config, parameters);
  std::set<std::string> frozen;
  for (size_t i = 0; i < parameters.size(); ++i)
    if (settings[i].frozen) frozen.insert(parameters[i].name);
  return frozen;
}

}  // namespace trireme::optim
