#include <trireme/telemetry/flops.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace trireme::telemetry {
namespace {

using Inputs = std::span<const OperatorInput>;
using Sizes = std::span<const int64_t>;

/// Of the tensor at `index`; empty where there is none.
Sizes sizes(Inputs inputs, size_t index) {
  return index < inputs.size() && inputs[index].kind == OperatorInput::Kind::tensor
             ? inputs[index].values
             : Sizes();
}
Sizes numbers(Inputs inputs, size_t index) {
  return index < inputs.size() && inputs[index].kind == OperatorInput::Kind::numbers
             ? inputs[index].values
             : Sizes();
}
int64_t number(Inputs inputs, size_t index, int64_t otherwise) {
  const Sizes found = numbers(inputs, index);
  return found.empty() ? otherwise : found.front();
}
int64_t product(Sizes values) {
  int64_t result = 1;
  for (const int64_t value : values) result *= value;
  return result;
}

/// [.., m, k] times [.., k, n], with equal leading sizes.
int64_t matrix_product(Sizes a, Sizes b) {
  if (a.size() < 2 || b.size() < 2) return 0;
  return 2 * product(a) * b.back();
}

/// x [.., k] times the transposed w [n, k].
int64_t linear(Sizes x, Sizes w) {
  if (x.empty() || w.empty()) return 0;
  return 2 * product(x) * (w.size() == 2 ? w.front() : 1);
}

/// A list of one number stands for that number in every dimension.
int64_t along(Sizes list, size_t dimension, int64_t otherwise) {
  if (list.empty()) return otherwise;
  return list.size() == 1 ? list.front() : dimension < list.size() ? list[dimension] : otherwise;
}

/// Each element of the smaller side (the output; of a transposed convolution the input) meets the
/// weight once: [out, in / groups, ...] of its channel.
int64_t convolution(Sizes x, Sizes w, Sizes stride, Sizes padding, Sizes dilation,
                    bool transposed) {
  if (x.size() < 3 || w.size() != x.size()) return 0;
  int64_t places = x[0];
  for (size_t d = 2; d < x.size(); ++d) {
    if (transposed) {
      places *= x[d];
      continue;
    }
    const int64_t s = std::max<int64_t>(along(stride, d - 2, 1), 1);
    const int64_t span = along(dilation, d - 2, 1) * (w[d] - 1) + 1;
    places *= std::max<int64_t>((x[d] + 2 * along(padding, d - 2, 0) - span) / s + 1, 0);
  }
  return 2 * places * product(w);
}

/// (input, weight, bias, stride, padding, dilation, transposed, ...)
int64_t convolution_forward(Inputs in) {
  return convolution(sizes(in, 0), sizes(in, 1), numbers(in, 3), numbers(in, 4), numbers(in, 5),
                     number(in, 6, 0) != 0);
}
/// (input, weight, bias, stride, padding, dilation, groups)
int64_t convolution_untransposed(Inputs in) {
  return convolution(sizes(in, 0), sizes(in, 1), numbers(in, 3), numbers(in, 4), numbers(in, 5),
                     false);
}
/// (input, weight, bias, padding, stride, dilation, groups)
int64_t convolution_library(Inputs in) {
  return convolution(sizes(in, 0), sizes(in, 1), numbers(in, 4), numbers(in, 3), numbers(in, 5),
                     false);
}
/// (gradient, input, weight, bias_sizes, stride, padding, dilation, transposed, output_padding,
/// groups, output_mask): as much again for each of the gradients of input and weight.
int64_t convolution_backward(Inputs in) {
  const int64_t forward = convolution(sizes(in, 1), sizes(in, 2), numbers(in, 4), numbers(in, 5),
                                      numbers(in, 6), number(in, 7, 0) != 0);
  const Sizes mask = numbers(in, 10);
  if (mask.size() < 2) return 2 * forward;
  return forward * ((mask[0] != 0 ? 1 : 0) + (mask[1] != 0 ? 1 : 0));
}

/// q [.., s, d], k [.., t, d], v [.., t, e]: scores and their product with v. With grouped heads k
/// and v have fewer than q.
int64_t attention(Sizes q, Sizes k, Sizes v, int64_t products_of_scores,
                  int64_t products_of_values) {
  if (q.size() < 3 || k.size() < 3 || v.size() < 3) return 0;
  const int64_t rows = product(q.first(q.size() - 1));
  const int64_t keys = k[k.size() - 2];
  return 2 * rows * keys * (products_of_scores * q.back() + products_of_values * v.back());
}
int64_t attention_forward(Inputs in) {
  return attention(sizes(in, 0), sizes(in, 1), sizes(in, 2), 1, 1);
}
/// (gradient, q, k, v, ...): the scores again, the gradients of scores and v, and of q and k (Dao
/// et al. 2022, "FlashAttention", algorithm 4).
int64_t attention_backward(Inputs in) {
  return attention(sizes(in, 1), sizes(in, 2), sizes(in, 3), 3, 2);
}

struct Formula {
  std::string_view operation;
  int64_t (*flops)(Inputs);
};

constexpr std::array formulas{
    Formula{"aten::mm",
            [](Inputs in) {
              return matrix_product(sizes(in, 0), sizes(in, 1));
            }},
    Formula{"aten::bmm",
            [](Inputs in) {
              return matrix_product(sizes(in, 0), sizes(in, 1));
            }},
    Formula{"aten::addmm",
            [](Inputs in) {
              return matrix_product(sizes(in, 1), sizes(in, 2));
            }},
    Formula{"aten::addmm_",
            [](Inputs in) {
              return matrix_product(sizes(in, 1), sizes(in, 2));
            }},
    Formula{"aten::_addmm_activation",
            [](Inputs in) {
              return matrix_product(sizes(in, 1), sizes(in, 2));
            }},
    Formula{"aten::baddbmm",
            [](Inputs in) {
              return matrix_product(sizes(in, 1), sizes(in, 2));
            }},
    Formula{"aten::baddbmm_",
            [](Inputs in) {
              return matrix_product(sizes(in, 1), sizes(in, 2));
            }},
    Formula{"aten::_scaled_mm",
            [](Inputs in) {
              return matrix_product(sizes(in, 0), sizes(in, 1));
            }},
    Formula{"aten::mv",
            [](Inputs in) {
              return 2 * product(sizes(in, 0));
            }},
    Formula{"aten::linear",
            [](Inputs in) {
              return linear(sizes(in, 0), sizes(in, 1));
            }},
    Formula{"aten::mkldnn_linear",
            [](Inputs in) {
              return linear(sizes(in, 0), sizes(in, 1));
            }},
    Formula{"aten::convolution", convolution_forward},
    Formula{"aten::_convolution", convolution_forward},
    Formula{"aten::convolution_overrideable", convolution_forward},
    Formula{"aten::conv1d", convolution_untransposed},
    Formula{"aten::conv2d", convolution_untransposed},
    Formula{"aten::conv3d", convolution_untransposed},
    Formula{"aten::mkldnn_convolution", convolution_library},
    Formula{"aten::convolution_backward", convolution_backward},
    Formula{"aten::convolution_backward_overrideable", convolution_backward},
    Formula{"aten::scaled_dot_product_attention", attention_forward},
    Formula{"aten::_scaled_dot_product_flash_attention", attention_forward},
    Formula{"aten::_scaled_dot_product_flash_attention_for_cpu", attention_forward},
    Formula{"aten::_scaled_dot_product_efficient_attention", attention_forward},
    Formula{"aten::_scaled_dot_product_cudnn_attention", attention_forward},
    Formula{"aten::_scaled_dot_product_flash_attention_backward", attention_backward},
    Formula{"aten::_scaled_dot_product_flash_attention_for_cpu_backward", attention_backward},
    Formula{"aten::_scaled_dot_product_efficient_attention_backward", attention_backward},
    Formula{"aten::_scaled_dot_product_cudnn_attention_backward", attention_backward},
};

}  // namespace

int64_t flops_of(std::string_view operation, std::span<const OperatorInput> inputs) {
  const auto* const found = std::ranges::find(formulas, operation, &Formula::operation);
  return found == formulas.end() ? 0 : found->flops(inputs);
}

}  // namespace trireme::telemetry
