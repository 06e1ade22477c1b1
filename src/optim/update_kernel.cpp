#include "optim/update_kernel.h"

#include <bit>
#include <cstring>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

namespace trireme::optim {

namespace {

// The arrays are distinct memory; `omp simd` says so where a slot's type would leave doubt.
template <class Rule>
void update_slice(const Rule& given, float scale, const Slice& slice) {
  const Rule rule = given;
  float* __restrict values = slice.values;
  float* __restrict gradient = slice.gradient;
  float* __restrict first = slice.first;
  float* __restrict second = slice.second;
#pragma omp simd
  for (int64_t i = 0; i < slice.elements; ++i) {
    float p = values[i], a = 0.0F, b = 0.0F;
    if constexpr (Rule::slots > 0) a = first[i];
    if constexpr (Rule::slots > 1) b = second[i];
    rule(p, gradient[i] * scale, a, b);
    values[i] = p;
    if constexpr (Rule::slots > 0) first[i] = a;
    if constexpr (Rule::slots > 1) second[i] = b;
    gradient[i] = 0.0F;
  }
  write_copy(slice);
}

void write_bfloat16(const float* __restrict values, uint16_t* __restrict copy, int64_t elements) {
#pragma omp simd
  for (int64_t i = 0; i < elements; ++i) {
    const auto bits = std::bit_cast<uint32_t>(values[i]);
    const bool nan = (bits & 0x7fffffffU) > 0x7f800000U;
    const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
    copy[i] = static_cast<uint16_t>(nan ? 0x7fc0U : rounded);
  }
}

}  // namespace

void update(const ops::Adam<true>& rule, float scale, const Slice& s) {
  update_slice(rule, scale, s);
}
void update(const ops::Adam<false>& rule, float scale, const Slice& s) {
  update_slice(rule, scale, s);
}
void update(const ops::Sgd& rule, float scale, const Slice& s) {
  update_slice(rule, scale, s);
}
void update(const ops::MomentumSgd& rule, float scale, const Slice& s) {
  update_slice(rule, scale, s);
}
void update(const ops::Adagrad& rule, float scale, const Slice& s) {
  update_slice(rule, scale, s);
}
void update(const ops::Lion& rule, float scale, const Slice& s) {
  update_slice(rule, scale, s);
}

SquareSums advance_moments(const ops::Lamb& given, float scale, const Slice& slice) {
  const ops::Lamb rule = given;
  const float* __restrict values = slice.values;
  const float* __restrict gradient = slice.gradient;
  float* __restrict first = slice.first;
  float* __restrict second = slice.second;
  double value_sum = 0.0, direction_sum = 0.0;
#pragma omp simd reduction(+ : value_sum, direction_sum)
  for (int64_t i = 0; i < slice.elements; ++i) {
    const float p = values[i];
    float m = first[i], v = second[i];
    rule.moments(gradient[i] * scale, m, v);
    first[i] = m;
    second[i] = v;
    const double r = rule.direction(p, m, v);
    value_sum += static_cast<double>(p) * static_cast<double>(p);
    direction_sum += r * r;
  }
  return {value_sum, direction_sum};
}

void apply_direction(const ops::Lamb& given, float step_size, const Slice& slice) {
  const ops::Lamb rule = given;
  float* __restrict values = slice.values;
  float* __restrict gradient = slice.gradient;
  const float* __restrict first = slice.first;
  const float* __restrict second = slice.second;
#pragma omp simd
  for (int64_t i = 0; i < slice.elements; ++i) {
    values[i] -= step_size * rule.direction(values[i], first[i], second[i]);
    gradient[i] = 0.0F;
  }
  write_copy(slice);
}

void clear_gradient(const Slice& slice) {
  std::memset(slice.gradient, 0, static_cast<size_t>(slice.elements) * sizeof(float));
}

void write_copy(const Slice& slice) {
  if (slice.copy == nullptr) return;
  if (slice.copy_type == at::kBFloat16) {
    write_bfloat16(slice.values, static_cast<uint16_t*>(slice.copy), slice.elements);
    return;
  }
  auto* copy = static_cast<at::Half*>(slice.copy);
  for (int64_t i = 0; i < slice.elements; ++i) copy[i] = at::Half(slice.values[i]);
}

}  // namespace trireme::optim
