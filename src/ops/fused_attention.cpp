#include "ops/fused_attention.h"

#include <trireme/device/backend.h>
#include <trireme/device/mark.h>
#include <trireme/ops/attention.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <compare>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace trireme::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Of the process, like LibTorch's own choices.
std::atomic<bool> autotune{false};

// [B, heads, T, D], views of the packed tensor.
struct Heads {
  at::Tensor q, k, v;
};
Heads heads_of(const at::Tensor& qkv_BTM, int64_t heads) {
  const int64_t b = qkv_BTM.size(0), t = qkv_BTM.size(1), d = qkv_BTM.size(2) / (3 * heads);
  const auto parts = qkv_BTM.view({b, t, 3, heads, d}).transpose(1, 3).unbind(2);
  return {parts[0], parts[1], parts[2]};
}

/// What one of the kernels keeps for backward besides its inputs.
struct Forward {
  at::Tensor out_BHTD, log_sum, seed, offset, ends_q, ends_k;
};

Forward run_forward(FusedAttention kernel, const Heads& x) {
  Forward made;
  if (kernel == FusedAttention::cudnn) {
    auto all = at::_scaled_dot_product_cudnn_attention(x.q, x.k, x.v, std::nullopt, true, 0.0, true, false);
    made = {std::get<0>(all), std::get<1>(all), std::get<6>(all), std::get<7>(all), std::get<2>(all), std::get<3>(all)};
  } else {
    auto all = at::_scaled_dot_product_flash_attention(x.q, x.k, x.v, 0.0, true, false);
    made = {std::get<0>(all), std::get<1>(all), std::get<6>(all), std::get<7>(all), std::get<2>(all), std::get<3>(all)};
  }
  return made;
}

/// The gradient of the packed tensor, assembled in one pass.
at::Tensor run_backward(FusedAttention kernel, const Heads& x, const Forward& f, const at::Tensor& dy_BHTD) {
  const int64_t b = x.q.size(0), heads = x.q.size(1), t = x.q.size(2), d = x.q.size(3);
  const auto [dq, dk, dv] =
      kernel == FusedAttention::cudnn
          ? at::_scaled_dot_product_cudnn_attention_backward(dy_BHTD, x.q, x.k, x.v, f.out_BHTD, f.log_sum, f.seed, f.offset, {},
                                                             f.ends_q, f.ends_k, t, t, 0.0, true)
          : at::_scaled_dot_product_flash_attention_backward(dy_BHTD, x.q, x.k, x.v, f.out_BHTD, f.log_sum, f.ends_q, f.ends_k, t,
                                                             t, 0.0, true, f.seed, f.offset);
  return at::stack({dq.transpose(1, 2), dk.transpose(1, 2), dv.transpose(1, 2)}, 2).view({b, t, 3 * heads * d});
}

class PackedAttentionFunction : public torch::autograd::Function<PackedAttentionFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& qkv_BTM, int64_t heads, int64_t kernel) {
    const Forward f = run_forward(static_cast<FusedAttention>(kernel), heads_of(qkv_BTM, heads));
    context->save_for_backward({qkv_BTM, f.out_BHTD, f.log_sum, f.seed, f.offset, f.ends_q, f.ends_k});
    context->saved_data["heads"] = heads;
    context->saved_data["kernel"] = kernel;
    // Both kernels lay their output out as [B, T, heads, D]. To autograd it must be no view: it becomes this function's output.
    const at::Tensor y = f.out_BHTD.transpose(1, 2).contiguous();
    return at::_unsafe_view(y, {qkv_BTM.size(0), qkv_BTM.size(1), qkv_BTM.size(2) / 3});
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const int64_t heads = context->saved_data["heads"].toInt();
    const Forward f{saved[1], saved[2], saved[3], saved[4], saved[5], saved[6]};
    const at::Tensor dy = gradients[0].contiguous();
    const at::Tensor dy_BHTD = dy.view({dy.size(0), dy.size(1), heads, dy.size(2) / heads}).transpose(1, 2);
    const auto kernel = static_cast<FusedAttention>(context->saved_data["kernel"].toInt());
    return {run_backward(kernel, heads_of(saved[0], heads), f, dy_BHTD), {}, {}};
  }
};

/// While it lives, LibTorch may choose this kernel or plain operations, whatever it prefers on the GPU at hand.
class OnlyThis {
 public:
  explicit OnlyThis(FusedAttention kernel) {
    at::Context& context = at::globalContext();
    flash_ = context.userEnabledFlashSDP();
    cudnn_ = context.userEnabledCuDNNSDP();
    efficient_ = context.userEnabledMemEfficientSDP();
    context.setSDPUseFlash(flash_ && kernel == FusedAttention::flash);
    context.setSDPUseCuDNN(cudnn_ && kernel == FusedAttention::cudnn);
    context.setSDPUseMemEfficient(false);
  }
  ~OnlyThis() {
    at::Context& context = at::globalContext();
    context.setSDPUseFlash(flash_);
    context.setSDPUseCuDNN(cudnn_);
    context.setSDPUseMemEfficient(efficient_);
  }
  OnlyThis(const OnlyThis&) = delete;
  OnlyThis& operator=(const OnlyThis&) = delete;

 private:
  bool flash_, cudnn_, efficient_;
};

bool can_run(FusedAttention kernel, const Heads& x) {
  // LibTorch would choose flash attention for other widths too, after it has padded them.
  if (x.q.size(3) % 8 != 0) return false;
  const OnlyThis scope(kernel);
  const auto choice = static_cast<at::SDPBackend>(at::_fused_sdp_choice(x.q, x.k, x.v, {}, 0.0, true));
  return choice == (kernel == FusedAttention::cudnn ? at::SDPBackend::cudnn_attention : at::SDPBackend::flash_attention);
}

double seconds(FusedAttention kernel, const Heads& x) {
  at::NoGradGuard no_grad;
  const auto both = [&] {
    const Forward f = run_forward(kernel, x);
    return run_backward(kernel, x, f, f.out_BHTD);
  };
  both();
  std::optional<double> least;
  for (int i = 0; i < 3; ++i) {
    const device::Mark begin = device::Mark::now(x.q.device(), true);
    both();
    const device::Mark end = device::Mark::now(x.q.device(), true);
    end.wait_on_host();
    const double one = end.seconds_since(begin);
    least = least ? std::min(*least, one) : one;
  }
  return *least;
}

struct Shape {
  int8_t device;
  at::ScalarType type;
  int64_t samples, length, heads, width;
  bool gradient;
  auto operator<=>(const Shape&) const = default;
};

FusedAttention choose(const Heads& x) {
  const device::Backend* backend = device::backend_of(x.q.device().type());
  const auto index = static_cast<size_t>(x.q.get_device());
  const std::string capability = backend == nullptr ? "" : backend->devices().at(index).capability;
  FusedAttention best = FusedAttention::none;
  std::optional<double> least;
  for (const FusedAttention kernel : preferred_attention(capability)) {
    if (!can_run(kernel, x)) continue;
    if (!autotune) return kernel;
    const double time = seconds(kernel, x);
    if (least && time >= *least) continue;
    least = time;
    best = kernel;
  }
  return best;
}

/// The kernel for tensors like these, decided when the first ones come.
FusedAttention chosen(const Heads& x) {
  static std::mutex mutex;
  static auto* known = new std::map<Shape, FusedAttention>;  // threads may outlive the end of main
  const Shape shape{static_cast<int8_t>(x.q.get_device()), x.q.scalar_type(), x.q.size(0),        x.q.size(2), x.q.size(1),
                    x.q.size(3),                           at::GradMode::is_enabled()};
  const std::lock_guard lock(mutex);
  const auto [at, is_new] = known->try_emplace(shape, FusedAttention::none);
  if (is_new) at->second = choose(x);
  return at->second;
}

}  // namespace

void set_attention_autotune(bool on) { autotune = on; }

std::vector<FusedAttention> preferred_attention(std::string_view capability) {
  // From Hopper on cuDNN's kernel uses what the architecture adds for matrix products; flash attention 2 does not.
  const bool hopper_or_later = capability.find('.') != std::string_view::npos && (capability.size() > 3 || capability[0] >= '9');
  if (hopper_or_later) return {FusedAttention::cudnn, FusedAttention::flash};
  return {FusedAttention::flash, FusedAttention::cudnn};
}

at::Tensor fused_causal_attention(const at::Tensor& qkv_BTM, int64_t heads) {
  const int64_t b = qkv_BTM.size(0), t = qkv_BTM.size(1), c = qkv_BTM.size(2) / 3;
  const at::Tensor packed = qkv_BTM.contiguous();
  const Heads x = heads_of(packed, heads);
  if (packed.is_cuda() && (packed.scalar_type() == at::kBFloat16 || packed.scalar_type() == at::kHalf)) {
    const FusedAttention kernel = chosen(x);
    if (kernel != FusedAttention::none) return PackedAttentionFunction::apply(packed, heads, static_cast<int64_t>(kernel));
  }
  const at::Tensor y_BHTD = packed.is_cuda() ? at::scaled_dot_product_attention(x.q, x.k, x.v, {}, 0.0, true)
                                             : std::get<0>(at::_scaled_dot_product_attention_math(x.q, x.k, x.v, {}, 0.0, true));
  return y_BHTD.transpose(1, 2).reshape({b, t, c});
}

}  // namespace trireme::ops
