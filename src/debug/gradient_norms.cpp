#include "debug/described.h"
#include "debug/gradient_history.h"
#include "debug/seldom.h"
#include "debug/side_scope.h"
#include "debug/tensor_summary.h"
#include "debug/tools.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <ATen/ATen.h>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

using nlohmann::json;

constexpr size_t most_in_digest = 200;

/// The mean gradient of each parameter over all ranks, before it is clipped.
class GradientNorms final : public Tool {
 public:
  GradientNorms(const Subject& subject, Journal& journal)
      : subject_(subject), journal_(journal), history_(subject.parameters.size()) {}

  [[nodiscard]] bool reads_gradients() const override { return true; }

  void begin_step(const StepSeen& seen) override { step_ = seen; }
  void decided(const Decided& seen) override {
    if (seen.loss_scale > 0) loss_scale_ = seen.loss_scale;
  }

  void gradients(const GradientsSeen& seen) override {
    if (!step_.looks) return;
    std::vector<Seen> all = read(seen);
    std::vector<double> norms, before;
    for (const Seen& one : all) {
      if (one.norm > 0 && one.summary.finite()) norms.push_back(one.norm);
      if (const auto median = history_[one.parameter].median()) before.push_back(*median);
    }
    const double typical = typical_norm(norms, before);

    std::vector<Seen> unsound, vanishing, exploding, unused;
    for (Seen& one : all) {
      if (!one.summary.finite())
        unsound.push_back(one);
      else if (one.norm == 0 && one.summary.elements > 0 && !parameter(one).fragment)
        unused.push_back(one);
      GradientHistory& history = history_[one.parameter];
      const GradientVerdict verdict = judge_gradient(one.norm, typical, history);
      if (verdict == GradientVerdict::vanishing) vanishing.push_back(one);
      if (verdict == GradientVerdict::exploding) exploding.push_back(one);
      if (one.summary.finite()) history.add(one.norm);
      write(one, verdict);
    }
    tell(unsound, "are not finite", [](const Seen& one) { return not_finite(one.summary); });
    const auto norm = [](const Seen& one) {
      return fmt::format("norm {:.3g}", one.norm);
    };
    tell(vanishing, fmt::format("vanish (a typical norm is {:.3g})", typical), norm);
    tell(exploding, fmt::format("explode (a typical norm is {:.3g})", typical), norm);
    tell(unused, "are zero everywhere",
         [](const Seen& one) { return fmt::format("{} elements", one.summary.elements); });
    digest_of(all, unsound.size(), vanishing.size(), exploding.size());
  }

  json digest() override { return std::exchange(digest_, json::object()); }

 private:
  struct Seen {
    size_t parameter;
    TensorSummary summary;
    double norm;  ///< of its finite elements, in the mean gradient
  };
  [[nodiscard]] const core::Parameter& parameter(const Seen& seen) const {
    return subject_.parameters[seen.parameter];
  }

  std::vector<Seen> read(const GradientsSeen& seen) {
    const SideScope aside;
    SummaryBatch batch;
    std::vector<size_t> numbers;
    for (size_t i = 0; i < subject_.parameters.size(); ++i) {
      const at::Tensor& gradient = subject_.parameters[i].tensor.grad();
      if (!gradient.defined()) continue;
      batch.add(gradient);
      numbers.push_back(i);
    }
    const auto add = [&](const at::Tensor* scale) {
      return scale == nullptr ? std::nullopt : std::optional(batch.add(*scale));
    };
    const std::optional<size_t> used = add(seen.gradient_scale), mean = add(seen.mean_scale);
    const std::vector<TensorSummary> summaries = batch.read();
    const auto value = [&](std::optional<size_t> number) -> std::optional<double> {
      if (!number || !summaries[*number].finite() || !(summaries[*number].sum > 0)) return {};
      return summaries[*number].sum;
    };
    used_scale_ = value(used);
    // Where gradients are not finite their scale need not be either: then the last one.
    if (seen.mean_scale == nullptr)
      mean_scale_ = 1 / loss_scale_;
    else if (const std::optional<double> now = value(mean))
      mean_scale_ = *now;
    std::vector<Seen> all;
    for (size_t i = 0; i < numbers.size(); ++i)
      all.push_back({numbers[i], summaries[i], summaries[i].norm() * mean_scale_});
    return all;
  }

  void write(const Seen& one, GradientVerdict verdict) {
    json fields = named(parameter(one));
    add_size(fields, one.summary);
    fields["norm"] = one.norm;
    fields["max_abs"] = one.summary.max_abs() * mean_scale_;
    fields["mean_scale"] = mean_scale_;
    if (used_scale_) fields["norm_as_used"] = one.summary.norm() * *used_scale_;
    if (verdict != GradientVerdict::ordinary)
      fields["verdict"] = verdict == GradientVerdict::vanishing ? "vanishing" : "exploding";
    journal_.record(std::move(fields));
  }

  template <class Detail>
  void tell(const std::vector<Seen>& those, const std::string& what, const Detail& detail) {
    if (those.empty() ||
        !seldom_.due(what.substr(0, 8) + parameter(those.front()).name, step_.step))
      return;
    std::string names;
    constexpr size_t most = 3;
    for (size_t i = 0; i < std::min(most, those.size()); ++i)
      names +=
          fmt::format("{}'{}' ({})", i > 0 ? ", " : "", parameter(those[i]).name, detail(those[i]));
    if (those.size() > most) names += fmt::format(" and {} more", those.size() - most);
    journal_.finding(fmt::format("step {}: the gradients of {} of {} parameters {}: {}", step_.step,
                                 those.size(), subject_.parameters.size(), what, names));
  }

  void digest_of(const std::vector<Seen>& all, size_t unsound, size_t vanishing, size_t exploding) {
    double square_sum = 0;
    json norms = json::object();
    const Seen *largest = nullptr, *smallest = nullptr;
    for (const Seen& one : all) {
      square_sum += one.norm * one.norm;
      if (norms.size() < most_in_digest) norms[parameter(one).name] = one.norm;
      if (largest == nullptr || one.norm > largest->norm) largest = &one;
      if (one.norm > 0 && (smallest == nullptr || one.norm < smallest->norm)) smallest = &one;
    }
    digest_ = {{"step", step_.step},       {"norm", std::sqrt(square_sum)},
               {"parameters", all.size()}, {"not_finite", unsound},
               {"vanishing", vanishing},   {"exploding", exploding},
               {"norms", std::move(norms)}};
    if (used_scale_) digest_["norm_as_used"] = std::sqrt(square_sum) / mean_scale_ * *used_scale_;
    name_part(digest_, subject_.parameters);
    const auto extreme = [&](const Seen& one) {
      return json{{"parameter", parameter(one).name}, {"norm", one.norm}};
    };
    if (largest != nullptr) digest_["largest"] = extreme(*largest);
    if (smallest != nullptr) digest_["smallest"] = extreme(*smallest);
  }

  const Subject& subject_;
  Journal& journal_;
  std::vector<GradientHistory> history_;
  StepSeen step_;
  double loss_scale_ = 1;  // as last decided
  double mean_scale_ = 1;
  std::optional<double> used_scale_;
  Seldom seldom_;
  json digest_ = json::object();
};

}  // namespace

ToolPtr make_gradient_norms(const Subject& subject, Journal& journal) {
  return std::make_unique<GradientNorms>(subject, journal);
}

}  // namespace trireme::debug
