#include "model/conversion.h"

#include <trireme/core/error.h>
#include <trireme/storage/safetensors.h>

#include <cmath>
#include <functional>
#include <utility>

#include <ATen/ATen.h>

#include <fmt/core.h>

namespace trireme::model {

namespace {

at::Tensor convert(const std::string& name, const at::Tensor& values, at::ScalarType dtype) {
  const at::NoGradGuard no_grad;
  at::Tensor result = values.to(dtype);
  if (result.numel() == 0) return result;
  const auto [least, most] = at::aminmax(result);
  if (std::isfinite(least.item<double>()) && std::isfinite(most.item<double>())) return result;
  const auto finite = [](const at::Tensor& t) {
    return at::isfinite(t).sum().item<int64_t>();
  };
  if (const int64_t lost = finite(values) - finite(result); lost > 0)
    throw Error(
        ErrorKind::model_refused,
        fmt::format("tensor {}: {} values are too large for {} (up to {:g})", name, lost,
                    storage::safetensors_dtype(dtype),
                    at::nan_to_num(values.to(at::kDouble), 0, 0, 0).abs().max().item<double>()),
        "use --dtype bf16 or --dtype fp32");
  return result;
}

}  // namespace

std::optional<at::ScalarType> weight_dtype(std::string_view name) {
  if (name == "fp32") return at::kFloat;
  if (name == "bf16") return at::kBFloat16;
  if (name == "fp16") return at::kHalf;
  return {};
}

std::vector<storage::LazyTensor> converted(std::vector<storage::LazyTensor> tensors,
                                           at::ScalarType dtype) {
  for (storage::LazyTensor& one : tensors) {
    if (!at::isFloatingType(one.dtype) || one.dtype == dtype) continue;
    one.values = [name = one.name, read = std::move(one.values), dtype] {
      return convert(name, read(), dtype);
    };
    one.dtype = dtype;
  }
  return tensors;
}

}  // namespace trireme::model
