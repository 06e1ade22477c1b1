#include <trireme/core/error.h>
#include <trireme/optim/gradient_norm.h>

#include "ops/kernels.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace trireme::optim {

namespace {

constexpr int64_t chunk_elements = 16384;
constexpr int64_t streams = 4;

using Doubles = double __attribute__((vector_size(32)));

// One conversion instruction this way; GCC 12 splits __builtin_convertvector into halves.
Doubles load(const float* x) {
  return Doubles{static_cast<double>(x[0]), static_cast<double>(x[1]), static_cast<double>(x[2]),
                 static_cast<double>(x[3])};
}

// Four parts of the chunk are read side by side: the prefetchers of the CPU follow several pages at
// once, which a single stream leaves idle (measured: 10.5 ms instead of 15 for 50 million elements
// on one thread).
double square_sum_of(const float* values, int64_t elements) {
  const int64_t part = elements / streams / 8 * 8;
  Doubles low[streams] = {}, high[streams] = {};
  for (int64_t i = 0; i < part; i += 8) {
#pragma GCC unroll 4
    for (int64_t s = 0; s < streams; ++s) {
      const Doubles a = load(values + s * part + i), b = load(values + s * part + i + 4);
      low[s] += a * a;
      high[s] += b * b;
    }
  }
  double sum = 0.0;
  for (int64_t s = 0; s < streams; ++s) {
    const Doubles both = low[s] + high[s];
    sum += (both[0] + both[1]) + (both[2] + both[3]);
  }
  for (int64_t i = streams * part; i < elements; ++i)
    sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return sum;
}

double square_sum_of(const at::Tensor& flat) {
  const float* values = flat.const_data_ptr<float>();
  const int64_t elements = flat.numel();
  const int64_t chunks = (elements + chunk_elements - 1) / chunk_elements;
  std::vector<double> parts(static_cast<size_t>(chunks));
  at::parallel_for(0, chunks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const int64_t from = c * chunk_elements;
      parts[static_cast<size_t>(c)] =
          square_sum_of(values + from, std::min(chunk_elements, elements - from));
    }
  });
  double sum = 0.0;
  for (const double part : parts) sum += part;
  return sum;
}

}  // namespace

GradientHealth gradient_health(const std::vector<at::Tensor>& flat) {
  if (ops::Kernels* const kernels = flat.empty() ? nullptr : ops::kernels_for(flat.front())) {
    const at::Tensor sum = kernels->square_sum(flat);
    return {sum, nonfinite_flag(sum)};
  }
  double sum = 0.0;
  for (const at::Tensor& buffer : flat) {
    check(buffer.is_cpu() && buffer.is_contiguous() && buffer.scalar_type() == at::kFloat,
          "gradients are contiguous float32 buffers of the CPU");
    sum += square_sum_of(buffer);
  }
  return {at::scalar_tensor(sum, at::kDouble),
          at::scalar_tensor(std::isfinite(sum) ? 0.0 : 1.0, at::kFloat)};
}

at::Tensor nonfinite_flag(const at::Tensor& square_sum) {
  return at::isfinite(square_sum).logical_not().to(at::kFloat);
}

at::Tensor global_norm(const std::vector<at::Tensor>& flat) {
  return gradient_health(flat).square_sum.sqrt();
}

at::Tensor clip_coefficient(const at::Tensor& norm, double max_norm) {
  check(max_norm > 0.0, "gradients are clipped to a positive norm");
  return (max_norm / (norm + 1e-6)).clamp_max(1.0).to(at::kFloat);
}

}  // namespace trireme::optim
