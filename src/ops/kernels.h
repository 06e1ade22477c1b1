#pragma once

#include "ops/multi_tensor.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// The fused operations on one kind of device, without autograd. Tensors are contiguous and on the device (scalars 0-dim),
/// float32, bfloat16 or float16 where nothing else is said, and computed in float32; results are new tensors of the type of the
/// first argument. Work is enqueued on the device's current stream: the host never waits, and nothing depends on values. The
/// same inputs give the same bits. Tensors may hold no elements.
class Kernels {
 public:
  virtual ~Kernels();

  /// From now on algorithms of matrix products and attention are chosen by timing them at their first use, outside of graphs.
  virtual void set_autotune(bool) {}

  /// As cross_entropy_sum (cross_entropy.h). A target outside of [0, V) in a row that counts makes loss_sum NaN.
  struct CrossEntropyRows {
    at::Tensor loss_sum;   ///< 0-dim float32
    at::Tensor weight;     ///< 0-dim float64
    at::Tensor correct;    ///< 0-dim float64
    at::Tensor targets_N;  ///< int64, -1 where the row does not count
    at::Tensor maximum_N;  ///< float32
    at::Tensor sum_N;      ///< float32: of exp(logit - maximum)
  };
  virtual CrossEntropyRows cross_entropy(const at::Tensor& logits_NV, const at::Tensor& targets_N, const at::Tensor& mask_N,
                                         int64_t ignore_index) = 0;
  /// into = (softmax(logits) - one_hot(targets)) * gradient, 0 in rows that do not count. `into` may be `logits`.
  /// `gradient`: 0-dim float32.
  virtual void cross_entropy_backward(const at::Tensor& into_NV, const at::Tensor& logits_NV, const CrossEntropyRows& rows,
                                      const at::Tensor& gradient) = 0;

  virtual at::Tensor gelu(const at::Tensor& x) = 0;
  virtual at::Tensor gelu_backward(const at::Tensor& x, const at::Tensor& dy) = 0;
  /// silu(gate) * up.
  virtual at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) = 0;
  struct SwigluGradients {
    at::Tensor gate, up;
  };
  virtual SwigluGradients swiglu_backward(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& dy) = 0;

  /// residual + (x + bias), of the residual's type.
  virtual at::Tensor add_bias(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& bias_C) = 0;
  /// Column sums of dy_NC, of the type `type`: the gradient of a bias.
  virtual at::Tensor column_sums(const at::Tensor& dy_NC, at::ScalarType type) = 0;

  /// As dropout (dropout.h); `seeds_B` int64, one a sample, already folded with the site. Backward is the same call.
  virtual at::Tensor dropout(const at::Tensor& x, double p, const at::Tensor& seeds_B) = 0;
  /// core::RandomKey(key).fold(site's hash) of each: `seeds_B` above. `site` is the value that the name folds in.
  virtual at::Tensor fold_keys(const at::Tensor& keys_B, uint64_t site) = 0;

  /// y = norm(s) * weight + bias over the last dimension C of s = x + residual (residual may be undefined: s = x).
  enum class Norm { layer, rms };
  struct Normed {
    at::Tensor y;
    at::Tensor sum;        ///< s; x itself without a residual
    at::Tensor mean_N;     ///< float32; undefined for rms
    at::Tensor inverse_N;  ///< float32: 1 / standard deviation, or 1 / root mean square
  };
  virtual Normed norm(Norm kind, const at::Tensor& x_NC, const at::Tensor& residual_NC, const at::Tensor& weight_C,
                      const at::Tensor& bias_C, double epsilon) = 0;
  struct NormGradients {
    at::Tensor s;               ///< also the gradient of x and of the residual; dsum_NC, if defined, is added
    at::Tensor weight_C, bias_C;  ///< bias: undefined without one
  };
  virtual NormGradients norm_backward(Norm kind, const at::Tensor& dy_NC, const at::Tensor& dsum_NC, const at::Tensor& s_NC,
                                      const at::Tensor& mean_N, const at::Tensor& inverse_N, const at::Tensor& weight_C,
                                      bool with_bias) = 0;

  /// Rotates pairs (i, i + D/2) of the last dimension of x_BTHD by the angles whose cosine and sine are [T, D/2] float32; the
  /// other way round for backward.
  virtual at::Tensor rotary(const at::Tensor& x_BTHD, const at::Tensor& cosine, const at::Tensor& sine, bool back) = 0;

  /// Row i of the result: the sum of dy's rows whose index is i, added in their order; float32 sums, of dy's type. `indices_N`
  /// int64 in [0, rows).
  virtual at::Tensor embedding_backward(const at::Tensor& dy_NC, const at::Tensor& indices_N, int64_t rows) = 0;

  /// y_NO = x_NI W + bias, W being `weight` as [I, O], or its transpose if `weight` is [O, I] (`transposed`). bias_O may be
  /// undefined.
  virtual at::Tensor linear(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed, const at::Tensor& bias_O) = 0;
  struct LinearGradients {
    at::Tensor x_NI, weight, bias_O;  ///< undefined where not wanted
  };
  struct Wanted {
    bool x = true, weight = true, bias = true;
  };
  virtual LinearGradients linear_backward(const at::Tensor& dy_NO, const at::Tensor& x_NI, const at::Tensor& weight,
                                          bool transposed, Wanted wanted) = 0;
  /// The same with gelu (tanh form) behind it; `before`: what gelu was applied to.
  struct LinearGelu {
    at::Tensor y_NO, before_NO;
  };
  virtual LinearGelu linear_gelu(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed, const at::Tensor& bias_O) = 0;
  /// (dy_NO W^T) * gelu'(before_NI) for y_NO = gelu(before_NI) W, and its column sums: what precedes a linear layer with gelu.
  struct GeluGradients {
    at::Tensor before_NI, bias_I;
  };
  virtual GeluGradients linear_gelu_backward(const at::Tensor& dy_NO, const at::Tensor& weight, bool transposed,
                                             const at::Tensor& before_NI) = 0;

  /// 0-dim float64: the sum of squares of all elements of float32 buffers.
  virtual at::Tensor square_sum(const std::vector<at::Tensor>& buffers) = 0;

  /// Prepares updates of these tensors, which keep their addresses.
  virtual std::unique_ptr<MultiTensorUpdate> make_update(const UpdateRule& rule, const std::vector<UpdateEntry>& entries) = 0;
};

/// Those registered for devices of this type, or null.
[[nodiscard]] Kernels* registered_kernels(at::DeviceType type);
/// For devices of this type from now on; a back end calls it when it is loaded.
void register_kernels(at::DeviceType type, std::unique_ptr<Kernels> kernels);

/// What serves operations on this tensor: those of an enclosing KernelScope, or those registered for its device; null: the
/// operation's own code for the CPU. Error `environment` for a device without any.
[[nodiscard]] Kernels* kernels_for(const at::Tensor& tensor);

/// While it lives, this thread's operations are served by `kernels`, whatever device their tensors are on.
class KernelScope {
 public:
  explicit KernelScope(Kernels& kernels);
  ~KernelScope();
  KernelScope(const KernelScope&) = delete;
  KernelScope& operator=(const KernelScope&) = delete;

 private:
  Kernels* outer_;
};

}  // namespace trireme::ops
