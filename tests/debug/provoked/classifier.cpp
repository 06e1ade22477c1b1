#include "debug/provoked/classifier.h"

#include <trireme/core/error.h>
#include <trireme/core/fault.h>
#include <trireme/telemetry/recorder.h>

#include "model/classification.h"

#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include <ATen/ATen.h>

namespace trireme::provoked {

bool wanted(const std::string& site) {
  return core::fault::at(site) == core::fault::Action::nan;
}

namespace {

class Layer final : public autograd::Block {
 public:
  Layer(const autograd::BuildContext& context, int64_t in, int64_t out, bool last)
      : Block(context), last_(last) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(in));
    weight_ = parameter_uniform("weight", {out, in}, -bound, bound);
    bias_ = parameter_uniform("bias", {out}, -bound, bound);
  }

  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override {
    std::optional<telemetry::SectionScope> table;
    std::optional<telemetry::Span> lookup, gathering;
    if (goes("lookup") && context().recorder != nullptr) {
      table.emplace(telemetry::section_of(context().recorder, "my table"), telemetry::SectionScope::Memory::tracked);
      kept_.push_back(at::ones({1 << 14}));
      lookup.emplace(*context().recorder, "my lookup");
      gathering.emplace(*context().recorder, "my gathering", telemetry::Category::forward_pass);
    }
    at::Tensor x = at::linear(inputs.at(0).to(weight_.device()), weight_, bias_);
    hand_on(x, "faint", 1e-9);
    hand_on(x, "loud", 1e9);
    if (goes("root")) x = x + at::sqrt(x - x);
    if (goes("costly")) x = x + at::special_erfcx(at::ones({1 << 14})).sum() * 0;
    if (goes("keeps")) kept_.push_back(at::ones({1 << 14}));
    if (!last_) x = at::tanh(x);
    if (goes("nan")) x = x * std::numeric_limits<double>::quiet_NaN();
    if (goes("dead")) x = x * 0;
    if (goes("huge")) x = x * 1e6;
    return {x};
  }

 private:
  [[nodiscard]] bool goes(const char* wrong) const { return wanted(context().scope + "." + wrong); }

  void hand_on(const at::Tensor& x, const char* site, double factor) const {
    if (goes(site) && x.requires_grad())
      x.register_hook([factor](const at::Tensor& gradient) { return gradient * factor; });
  }

  bool last_;
  at::Tensor weight_, bias_;
  std::vector<at::Tensor> kept_;
};

std::string name_of(size_t unit, size_t units) {
  if (unit == 0) return "first";
  if (unit + 1 == units) return "last";
  return unit == 1 ? "middle" : "middle" + std::to_string(unit);
}

}  // namespace

Classifier::Classifier(const model::MlpSettings& settings) {
  std::vector<int64_t> widths = settings.hidden;
  widths.push_back(settings.classes);
  int64_t width = settings.inputs;
  for (size_t i = 0; i < widths.size(); ++i) {
    const bool last = i + 1 == widths.size();
    units_.emplace_back(name_of(i, widths.size()),
                        [in = width, out = widths[i], last](const autograd::BuildContext& context) {
                          return std::make_unique<Layer>(context, in, out, last);
                        });
    width = widths[i];
  }
}

std::vector<autograd::Unit*> Classifier::units() {
  std::vector<autograd::Unit*> all;
  for (autograd::Unit& unit : units_) all.push_back(&unit);
  return all;
}

model::LossSums Classifier::loss(const core::Batch& batch) {
  const at::ScalarType type = units_.front().block().parameters().front().tensor.scalar_type();
  at::Tensor x = model::real_field(batch, "features", type);
  for (autograd::Unit& unit : units_) x = unit(wanted(unit.name() + ".elsewhere") ? x.cpu() : x);
  model::LossSums sums = model::classification_loss(x, batch);
  sums.metrics.emplace_back("score", sums.weight * (wanted("score.high") ? 5.0 : 1.0));
  return sums;
}

}  // namespace trireme::provoked
