#include "debug/described.h"

#include <algorithm>

#include <fmt/format.h>

namespace trireme::debug {

using nlohmann::json;

std::string dtype_name(at::ScalarType type) {
  return c10::getDtypeNames(type).first;
}

json described(const at::Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  return {{"shape", tensor.sizes().vec()},
          {"dtype", dtype_name(tensor.scalar_type())},
          {"device", tensor.device().str()}};
}

void add_size(json& to, const TensorSummary& summary) {
  to["elements"] = summary.elements;
  to["zeros"] = summary.share_of_zeros();
  to["nan"] = summary.nans;
  to["inf"] = summary.infinities;
  to["norm"] = summary.norm();
  to["max_abs"] = summary.max_abs();
}

void add_values(json& to, const TensorSummary& summary) {
  to["min"] = summary.min;
  to["max"] = summary.max;
  to["mean"] = summary.mean();
  to["std"] = summary.deviation();
  to["nan"] = summary.nans;
  to["inf"] = summary.infinities;
}

json named(const core::Parameter& parameter) {
  json fields{{"parameter", parameter.name}};
  if (parameter.fragment)
    fields["fragment"] = {parameter.fragment->begin, parameter.tensor.numel()};
  return fields;
}

void name_part(json& digest, const core::ParameterSet& parameters) {
  const auto part =
      std::ranges::find_if(parameters, [](const auto& p) { return p.fragment.has_value(); });
  if (part == parameters.end()) return;
  digest["of"] = "this rank's part";
  if (!part->fragment->saved) digest["copy"] = "of another rank's part";
}

std::string not_finite(const TensorSummary& summary) {
  return fmt::format("{} NaN and {} Inf of {}", summary.nans, summary.infinities, summary.elements);
}

}  // namespace trireme::debug
