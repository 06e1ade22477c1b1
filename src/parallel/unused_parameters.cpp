#include "parallel/unused_parameters.h"

#include <string>
#include <string_view>

#include <ATen/ATen.h>

namespace trireme::parallel {

void UnusedParameters::begin(const at::Tensor& touched) {
  here_ = touched;
  if (!device_.is_cpu() || ranks_.size() == 1) return;
  anywhere_ = touched.clone();
  comparing_ = ranks_.all_reduce(anywhere_, comm::ReduceOp::max);
}

at::Tensor UnusedParameters::touched_anywhere(Traffic& traffic) {
  if (ranks_.size() == 1) return here_;
  if (device_.is_cpu()) {
    traffic.wait(comparing_, anywhere_);
    return anywhere_;
  }
  at::Tensor anywhere = here_.clone();
  float* const values = anywhere.mutable_data_ptr<float>();
  const std::string_view mine(static_cast<const char*>(here_.const_data_ptr()), here_.nbytes());
  for (const std::string& one : ranks_.all_gather_bytes(mine)) {
    check(one.size() == mine.size(), "ranks compare the same parameters");
    const auto* const others = reinterpret_cast<const float*>(one.data());
    for (int64_t i = 0; i < anywhere.numel(); ++i)
      if (others[i] != 0.0F) values[i] = 1.0F;
  }
  return anywhere;
}

void UnusedParameters::name(const core::ParameterSet& parameters, Traffic& traffic,
                            ReduceReport& report) {
  if (!device_.is_cpu() && compared_++ >= compared_steps) return;
  const at::Tensor anywhere = touched_anywhere(traffic);
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (anywhere.const_data_ptr<float>()[i] == 0.0F) report.unused.push_back(parameters[i].name);
    if (here_.const_data_ptr<float>()[i] == 0.0F) report.unused_here.push_back(parameters[i].name);
  }
}

}  // namespace trireme::parallel
