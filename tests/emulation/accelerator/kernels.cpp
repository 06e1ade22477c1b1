#include "kernels.h"

#include "emulated.h"
#include "heap.h"
#include "host_views.h"
#include "ops/kernels.h"
#include "support/emulated_kernels.h"
#include "tape.h"

#include <memory>
#include <utility>
#include <vector>

#include <ATen/core/LegacyTypeDispatch.h>

namespace trireme::emulated {
namespace {

using ops::Kernels;
using List = std::vector<at::Tensor>;

List tensors_of(const at::Tensor& one) {
  return {one};
}
List tensors_of(const List& many) {
  return many;
}
List tensors_of(const Kernels::CrossEntropyRows& rows) {
  return {rows.loss_sum, rows.weight, rows.correct, rows.targets_N, rows.maximum_N, rows.sum_N};
}
List tensors_of(const Kernels::SwigluGradients& gradients) {
  return {gradients.gate, gradients.up};
}
List tensors_of(const Kernels::Normed& normed) {
  return {normed.y, normed.sum, normed.mean_N, normed.inverse_N};
}
List tensors_of(const Kernels::NormGradients& gradients) {
  return {gradients.s, gradients.weight_C, gradients.bias_C};
}
List tensors_of(const Kernels::LinearGradients& gradients) {
  return {gradients.x_NI, gradients.weight, gradients.bias_O};
}
List tensors_of(const Kernels::LinearGelu& results) {
  return {results.y_NO, results.before_NO};
}
List tensors_of(const Kernels::GeluGradients& gradients) {
  return {gradients.before_NI, gradients.bias_I};
}

at::Tensor borrowed(const at::Tensor& one) {
  return unowned(one);
}
List borrowed(const List& many) {
  List all;
  for (const at::Tensor& one : many) all.push_back(unowned(one));
  return all;
}

const void* address_of(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.storage().data() : nullptr;
}

void bring(const List& results, const List& to) {
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const Access access;
  for (size_t i = 0; i < results.size(); ++i)
    if (results[i].defined() && results[i].const_data_ptr() != to[i].const_data_ptr())
      host_view(to[i]).copy_(host_view(results[i]));
}

/// Calls f(arguments...), and has the tape call it again at each replay with arguments at the same
/// addresses.
template <class F, class... Arguments>
auto run(const char* name, const F& f, const Arguments&... arguments) {
  const Access access;
  Tape* tape = Tape::here();
  const Tape::Pause pause;
  auto results = f(arguments...);
  if (tape != nullptr) {
    (
        [&] {
          for (const at::Tensor& tensor : tensors_of(arguments)) tape->uses(address_of(tensor));
        }(),
        ...);
    tape->append(name, [f, to = borrowed(tensors_of(results)), ... kept = borrowed(arguments)] {
      const Access again;
      bring(tensors_of(f(kept...)), to);
    });
  }
  return results;
}

/// The same for what changes tensors and has no result.
template <class F, class... Arguments>
void change(const char* name, const List& changed, const F& f, const Arguments&... arguments) {
  if (Tape* tape = Tape::here())
    for (const at::Tensor& tensor : changed) {
      tape->will_write(address_of(tensor));
      tape->uses(address_of(tensor));
    }
  run(
      name,
      [f](const Arguments&... kept) {
        f(kept...);
        return List{};
      },
      arguments...);
}

class Update final : public ops::MultiTensorUpdate {
 public:
  Update(std::unique_ptr<ops::MultiTensorUpdate> inner,
         const std::vector<ops::UpdateEntry>& entries)
      : inner_(std::move(inner)) {
    for (const ops::UpdateEntry& entry : entries) {
      for (const at::Tensor* tensor : {&entry.parameter, &entry.gradient, &entry.master})
        changed_.push_back(*tensor);
      changed_.insert(changed_.end(), entry.slots.begin(), entry.slots.end());
    }
  }
  void step(const Inputs& inputs) override {
    List changed = changed_;
    changed.push_back(inputs.steps);
    change(
        "an update", changed,
        [inner = inner_, add = inputs.add_over_shards](const List& scalars) {
          inner->step({scalars[0], scalars[1], scalars[2], scalars[3], add});
        },
        List{inputs.lr, inputs.gradient_scale, inputs.nonfinite, inputs.steps});
  }

 private:
  std::shared_ptr<ops::MultiTensorUpdate> inner_;
  List changed_;
};

/// Kernels whose calls can be recorded.
class RecordedKernels final : public Kernels {
 public:
  CrossEntropyRows cross_entropy(const at::Tensor& logits_NV, const at::Tensor& targets_N,
                                 const at::Tensor& mask_N, int64_t ignore_index) override {
    return run(
        "cross_entropy",
        [=, this](const at::Tensor& logits, const at::Tensor& targets, const at::Tensor& mask) {
          return inner_.cross_entropy(logits, targets, mask, ignore_index);
        },
        logits_NV, targets_N, mask_N);
  }
  void cross_entropy_backward(const at::Tensor& into_NV, const at::Tensor& logits_NV,
                              const CrossEntropyRows& rows, const at::Tensor& gradient) override {
    change(
        "cross_entropy_backward", {into_NV},
        [this](const at::Tensor& into, const at::Tensor& logits, const List& r,
               const at::Tensor& dy) {
          inner_.cross_entropy_backward(into, logits, {r[0], r[1], r[2], r[3], r[4], r[5]}, dy);
        },
        into_NV, logits_NV, tensors_of(rows), gradient);
  }
  at::Tensor gelu(const at::Tensor& x) override {
    return run(
        "gelu", [this](const at::Tensor& a) { return inner_.gelu(a); }, x);
  }
  at::Tensor gelu_backward(const at::Tensor& x, const at::Tensor& dy) override {
    return run(
        "gelu_backward",
        [this](const at::Tensor& a, const at::Tensor& b) { return inner_.gelu_backward(a, b); }, x,
        dy);
  }
  at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) override {
    return run(
        "swiglu", [this](const at::Tensor& a, const at::Tensor& b) { return inner_.swiglu(a, b); },
        gate, up);
  }
  SwigluGradients swiglu_backward(const at::Tensor& gate, const at::Tensor& up,
                                  const at::Tensor& dy) override {
    return run(
        "swiglu_backward",
        [this](const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
          return inner_.swiglu_backward(a, b, c);
        },
        gate, up, dy);
  }
  at::Tensor add_bias(const at::Tensor& residual, const at::Tensor& x,
                      const at::Tensor& bias_C) override {
    return run(
        "add_bias",
        [this](const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
          return inner_.add_bias(a, b, c);
        },
        residual, x, bias_C);
  }
  at::Tensor column_sums(const at::Tensor& dy_NC, at::ScalarType type) override {
    return run(
        "column_sums", [=, this](const at::Tensor& dy) { return inner_.column_sums(dy, type); },
        dy_NC);
  }
  at::Tensor dropout(const at::Tensor& x, double p, const at::Tensor& seeds_B) override {
    return run(
        "dropout",
        [=, this](const at::Tensor& a, const at::Tensor& seeds) {
          return inner_.dropout(a, p, seeds);
        },
        x, seeds_B);
  }
  at::Tensor fold_keys(const at::Tensor& keys_B, uint64_t site) override {
    return run(
        "fold_keys", [=, this](const at::Tensor& keys) { return inner_.fold_keys(keys, site); },
        keys_B);
  }
  Normed norm(Norm kind, const at::Tensor& x_NC, const at::Tensor& residual_NC,
              const at::Tensor& weight_C, const at::Tensor& bias_C, double epsilon) override {
    return run(
        "norm",
        [=, this](const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight,
                  const at::Tensor& bias) {
          return inner_.norm(kind, x, residual, weight, bias, epsilon);
        },
        x_NC, residual_NC, weight_C, bias_C);
  }
  NormGradients norm_backward(Norm kind, const at::Tensor& dy_NC, const at::Tensor& dsum_NC,
                              const at::Tensor& s_NC, const at::Tensor& mean_N,
                              const at::Tensor& inverse_N, const at::Tensor& weight_C,
                              bool with_bias) override {
    return run(
        "norm_backward",
        [=, this](const List& x) {
          return inner_.norm_backward(kind, x[0], x[1], x[2], x[3], x[4], x[5], with_bias);
        },
        List{dy_NC, dsum_NC, s_NC, mean_N, inverse_N, weight_C});
  }
  at::Tensor rotary(const at::Tensor& x_BTHD, const at::Tensor& cosine, const at::Tensor& sine,
                    bool back) override {
    return run(
        "rotary",
        [=, this](const at::Tensor& x, const at::Tensor& c, const at::Tensor& s) {
          return inner_.rotary(x, c, s, back);
        },
        x_BTHD, cosine, sine);
  }
  at::Tensor embedding_backward(const at::Tensor& dy_NC, const at::Tensor& indices_N,
                                int64_t rows) override {
    return run(
        "embedding_backward",
        [=, this](const at::Tensor& dy, const at::Tensor& indices) {
          return inner_.embedding_backward(dy, indices, rows);
        },
        dy_NC, indices_N);
  }
  at::Tensor linear(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed,
                    const at::Tensor& bias_O) override {
    return run(
        "linear",
        [=, this](const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
          return inner_.linear(x, w, transposed, bias);
        },
        x_NI, weight, bias_O);
  }
  LinearGradients linear_backward(const at::Tensor& dy_NO, const at::Tensor& x_NI,
                                  const at::Tensor& weight, bool transposed,
                                  Wanted wanted) override {
    return run(
        "linear_backward",
        [=, this](const at::Tensor& dy, const at::Tensor& x, const at::Tensor& w) {
          return inner_.linear_backward(dy, x, w, transposed, wanted);
        },
        dy_NO, x_NI, weight);
  }
  LinearGelu linear_gelu(const at::Tensor& x_NI, const at::Tensor& weight, bool transposed,
                         const at::Tensor& bias_O) override {
    return run(
        "linear_gelu",
        [=, this](const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
          return inner_.linear_gelu(x, w, transposed, bias);
        },
        x_NI, weight, bias_O);
  }
  GeluGradients linear_gelu_backward(const at::Tensor& dy_NO, const at::Tensor& weight,
                                     bool transposed, const at::Tensor& before_NI) override {
    return run(
        "linear_gelu_backward",
        [=, this](const at::Tensor& dy, const at::Tensor& w, const at::Tensor& before) {
          return inner_.linear_gelu_backward(dy, w, transposed, before);
        },
        dy_NO, weight, before_NI);
  }
  at::Tensor square_sum(const std::vector<at::Tensor>& buffers) override {
    return run(
        "square_sum", [this](const List& all) { return inner_.square_sum(all); }, buffers);
  }
  std::unique_ptr<ops::MultiTensorUpdate> make_update(
      const ops::UpdateRule& rule, const std::vector<ops::UpdateEntry>& entries) override {
    const Access access;
    return std::make_unique<Update>(inner_.make_update(rule, entries), entries);
  }

 private:
  cuda::EmulatedKernels inner_;
};

}  // namespace

void register_kernels() {
  ops::register_kernels(device_type, std::make_unique<RecordedKernels>());
}

}  // namespace trireme::emulated
