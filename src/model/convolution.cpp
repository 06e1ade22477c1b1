#include "model/convolution.h"

#include <trireme/core/error.h>

#include <cmath>

#include <ATen/ATen.h>

#include <fmt/core.h>

namespace trireme::model {

at::Tensor NormedConvolution::operator()(const at::Tensor& x_BCHW) const {
  const int64_t padding = weight.size(2) / 2;
  const at::Tensor y = at::conv2d(x_BCHW, weight, {}, stride, padding);
  return at::group_norm(y, groups, scale, shift);
}

NormedConvolution ConvolutionBlock::add(const std::string& convolution, const std::string& norm,
                                        const ConvolutionShape& shape) {
  const double deviation =
      std::sqrt(2.0 / static_cast<double>(shape.out * shape.kernel * shape.kernel));
  NormedConvolution made;
  made.weight = parameter_normal(convolution + ".weight",
                                 {shape.out, shape.in, shape.kernel, shape.kernel}, 0.0, deviation);
  made.scale = parameter_constant(norm + ".weight", {shape.out}, 1.0);
  made.shift = parameter_constant(norm + ".bias", {shape.out}, 0.0);
  made.stride = shape.stride;
  made.groups = groups_;
  return made;
}

double products_of(const ConvolutionShape& shape, int64_t height, int64_t width) {
  const auto outputs = [&](int64_t size) { return (size + shape.stride - 1) / shape.stride; };
  return static_cast<double>(shape.in * shape.out * shape.kernel * shape.kernel) * static_cast<double>(outputs(height) * outputs(width));
}

void check_groups(const std::string& key, int64_t filters, int64_t groups) {
  if (filters % groups != 0)
    throw Error(
        ErrorKind::configuration,
        fmt::format("{} {} is not a multiple of model.config.groups {}", key, filters, groups),
        "group normalisation divides the filters into equal groups");
}

}  // namespace trireme::model
