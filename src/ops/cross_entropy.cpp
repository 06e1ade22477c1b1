#include <trireme/core/error.h>
#include <trireme/ops/cross_entropy.h>

#include "ops/kernels.h"
#include "ops/reference.h"
#include "ops/simd.h"
#include "ops/softmax_rows.h"

#include <cmath>
#include <cstdint>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/core.h>

namespace trireme::ops {

namespace {

constexpr int64_t does_not_count = -1;

// Targets as the kernels want them: contiguous, with `does_not_count` where a row does not count.
// Refuses bad targets.
at::Tensor counted_targets(const at::Tensor& targets_N, const at::Tensor& mask_N, int64_t classes,
                           int64_t ignore_index) {
  at::Tensor counted = targets_N.detach().clone(at::MemoryFormat::Contiguous);
  at::Tensor mask;
  if (mask_N.defined()) mask = mask_N.detach().to(at::kBool).contiguous();
  const bool* on = mask.defined() ? mask.const_data_ptr<bool>() : nullptr;
  auto* target = counted.mutable_data_ptr<int64_t>();
  for (int64_t row = 0; row < counted.numel(); ++row) {
    if (target[row] == ignore_index || (on != nullptr && !on[row]))
      target[row] = does_not_count;
    else if (target[row] < 0 || target[row] >= classes)
      throw Error(ErrorKind::data_damaged,
                  fmt::format("target {} in row {} is outside of the model's {} classes",
                              target[row], row, classes),
                  "check that the data was prepared with the tokenizer or labels of this model");
  }
  return counted;
}

struct Rows {
  at::Tensor logits_NV;  // contiguous
  at::Tensor targets_N;  // counted_targets
  at::Tensor maximum_N;  // float32, as is the next: RowSoftmax of each row that counts
  at::Tensor sum_N;
};

// How many rows make a task worth another thread.
int64_t grain(int64_t columns) {
  return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, columns));
}

// Whether the row's first largest value is at `target`.
template <class T>
bool is_first_maximum(const T* row, int64_t target, float maximum) {
  if (!(static_cast<float>(row[target]) >= maximum)) return false;
  for (int64_t j = 0; j < target; ++j)
    if (static_cast<float>(row[j]) == maximum) return false;
  return true;
}

template <class T>
void forward_rows(const Rows& rows, float* losses, bool* correct) {
  const int64_t columns = rows.logits_NV.size(1);
  const T* logits = rows.logits_NV.const_data_ptr<T>();
  const auto* targets = rows.targets_N.const_data_ptr<int64_t>();
  auto* maximum = rows.maximum_N.mutable_data_ptr<float>();
  auto* sum = rows.sum_N.mutable_data_ptr<float>();
  const bool wide = simd::has_avx512();
  at::parallel_for(0, rows.targets_N.numel(), grain(columns), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      losses[i] = 0;
      correct[i] = false;
      if (targets[i] == does_not_count) continue;
      const T* row = logits + i * columns;
      const RowSoftmax softmax = SoftmaxRows<T>::forward(row, columns, wide);
      maximum[i] = softmax.maximum;
      sum[i] = softmax.sum;
      losses[i] = (softmax.maximum - static_cast<float>(row[targets[i]])) + std::log(softmax.sum);
      correct[i] = is_first_maximum(row, targets[i], softmax.maximum);
    }
  });
}

template <class T>
void backward_rows(const Rows& rows, const at::Tensor& gradient_NV, float gradient) {
  const int64_t columns = rows.logits_NV.size(1);
  const T* logits = rows.logits_NV.const_data_ptr<T>();
  T* out = gradient_NV.mutable_data_ptr<T>();
  const auto* targets = rows.targets_N.const_data_ptr<int64_t>();
  const auto* maximum = rows.maximum_N.const_data_ptr<float>();
  const auto* sum = rows.sum_N.const_data_ptr<float>();
  const bool wide = simd::has_avx512();
  at::parallel_for(0, rows.targets_N.numel(), grain(columns), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* to = out + i * columns;
      if (targets[i] == does_not_count) {
        std::fill(to, to + columns, T(0));
        continue;
      }
      const T* row = logits + i * columns;
      // Before the row may be overwritten: the target's own element in full precision.
      const float at_target =
          std::exp(static_cast<float>(row[targets[i]]) - maximum[i]) / sum[i] - 1.0F;
      SoftmaxRows<T>::scaled_exponentials(row, to, columns, maximum[i], gradient / sum[i], wide);
      to[targets[i]] = static_cast<T>(at_target * gradient);
    }
  });
}

// Calls f with a null pointer to the element type.
template <class F>
void with_type(at::ScalarType type, F&& f) {
  switch (type) {
    case at::kFloat:
      return f(static_cast<float*>(nullptr));
    case at::kBFloat16:
      return f(static_cast<at::BFloat16*>(nullptr));
    case at::kHalf:
      return f(static_cast<at::Half*>(nullptr));
    default:
      check(false, fmt::format("cross_entropy_sum of {}", at::toString(type)));
  }
}

// Whether the gradient may be written over the logits: once.
bool begin_backward(torch::autograd::AutogradContext& context) {
  check(context.saved_data.count("consumed") == 0,
        "a second backward through logits that the first one consumed");
  const bool consume = context.saved_data["consume"].toBool();
  if (consume) context.saved_data["consumed"] = true;
  return consume;
}

class CrossEntropyFunction : public torch::autograd::Function<CrossEntropyFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& logits_NV,
                            const at::Tensor& loss_sum, const at::Tensor& targets_N,
                            const at::Tensor& maximum_N, const at::Tensor& sum_N, bool consume) {
    context->save_for_backward({logits_NV, targets_N, maximum_N, sum_N});
    context->saved_data["consume"] = consume;
    return loss_sum;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const bool consume = begin_backward(*context);
    const auto saved = context->get_saved_variables();
    const Rows rows{saved[0].detach(), saved[1], saved[2], saved[3]};
    const at::Tensor out = consume ? rows.logits_NV : at::empty_like(rows.logits_NV);
    with_type(out.scalar_type(),
              [&]<class T>(T*) { backward_rows<T>(rows, out, gradients[0].item<float>()); });
    return {out, {}, {}, {}, {}, {}};
  }
};

// The same where a device's kernels serve it: nothing is read on the host.
class KernelCrossEntropyFunction : public torch::autograd::Function<KernelCrossEntropyFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& logits_NV,
                            const Kernels::CrossEntropyRows& rows, bool consume) {
    context->save_for_backward({logits_NV, rows.targets_N, rows.maximum_N, rows.sum_N});
    context->saved_data["consume"] = consume;
    return rows.loss_sum;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const bool consume = begin_backward(*context);
    const auto saved = context->get_saved_variables();
    const at::Tensor logits_NV = saved[0].detach();
    const at::Tensor out = consume ? logits_NV : at::empty_like(logits_NV);
    kernels_for(logits_NV)->cross_entropy_backward(
        out, logits_NV, {.targets_N = saved[1], .maximum_N = saved[2], .sum_N = saved[3]},
        gradients[0].to(at::kFloat));
    return {out, {}, {}};
  }
};

}  // namespace

CrossEntropy cross_entropy_sum(const at::Tensor& logits_NV, const at::Tensor& targets_N,
                               const at::Tensor& mask_N, const CrossEntropyOptions& options) {
  check(logits_NV.dim() == 2 && targets_N.dim() == 1 && targets_N.size(0) == logits_NV.size(0),
        "cross_entropy_sum takes logits [N, V] and targets [N]");
  check(!mask_N.defined() || mask_N.sizes() == targets_N.sizes(),
        "cross_entropy_sum takes a mask of the targets' shape");
  check(targets_N.scalar_type() == at::kLong, "cross_entropy_sum takes int64 targets");
  if (logits_NV.scalar_type() == at::kDouble)
    return reference::cross_entropy_sum(logits_NV, targets_N, mask_N, options);

  const int64_t n = targets_N.size(0);
  const at::Tensor logits = logits_NV.contiguous();
  if (Kernels* const kernels = kernels_for(logits)) {
    const auto rows = kernels->cross_entropy(logits.detach(), targets_N.contiguous(), mask_N, options.ignore_index);
    return {KernelCrossEntropyFunction::apply(logits, rows, options.consume_logits), rows.weight, rows.correct};
  }
  const auto floats = at::TensorOptions().dtype(at::kFloat);
  const Rows rows{logits.detach(),
                  counted_targets(targets_N, mask_N, logits.size(1), options.ignore_index),
                  at::empty({n}, floats), at::empty({n}, floats)};
  const at::Tensor losses = at::empty({n}, floats);
  const at::Tensor correct = at::empty({n}, at::TensorOptions().dtype(at::kBool));
  auto* loss = losses.mutable_data_ptr<float>();
  auto* right = correct.mutable_data_ptr<bool>();
  with_type(logits.scalar_type(), [&]<class T>(T*) { forward_rows<T>(rows, loss, right); });

  double loss_sum = 0;  // in the order of the rows: the same for any number of threads
  int64_t weight = 0, hits = 0;
  const auto* target = rows.targets_N.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < n; ++i) {
    loss_sum += loss[i];
    weight += target[i] == does_not_count ? 0 : 1;
    hits += right[i] ? 1 : 0;
  }
  const auto doubles = at::TensorOptions().dtype(at::kDouble);
  return {CrossEntropyFunction::apply(logits, at::scalar_tensor(loss_sum, floats), rows.targets_N,
                                      rows.maximum_N, rows.sum_N, options.consume_logits),
          at::scalar_tensor(static_cast<double>(weight), doubles),
          at::scalar_tensor(static_cast<double>(hits), doubles)};
}

}  // namespace trireme::ops
