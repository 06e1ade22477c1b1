// Speeds of the fused kernels of a back end at the shapes of a GPT-2: bytes per second of those that are bound by memory, and
// how long products take with and without their epilogues.
//   bench_gpu_kernels [--back-end cuda] [--tokens N] [--width C] [--vocabulary V] [--parameters P]
#include <trireme/device/backend.h>
#include <trireme/device/mark.h>

#include "bench/blocks.h"
#include "ops/kernels.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

namespace trireme::bench {
namespace {

using device::Mark;
using ops::Kernels;

struct Shape {
  int64_t tokens, width, vocabulary, parameters;
};

/// Seconds of one call, the least of 5 blocks.
double seconds(c10::Device on, const std::function<void()>& work) {
  for (int i = 0; i < 2; ++i) work();
  double least = 1e30;
  int64_t calls = 1;
  for (int block = 0; block < 5;) {
    const Mark begin = Mark::now(on, true);
    for (int64_t i = 0; i < calls; ++i) work();
    const Mark end = Mark::now(on, true);
    end.wait_on_host();
    const double spent = end.seconds_since(begin);
    if (spent < 0.01 && calls < 1000) {
      calls *= 2;
      continue;
    }
    least = std::min(least, spent / static_cast<double>(calls));
    ++block;
  }
  return least;
}

class Table {
 public:
  Table(c10::Device on) : on_(on) {}
  void add(const std::string& name, double bytes, const std::function<void()>& work) {
    const double time = seconds(on_, work);
    rows_[name] = {{"us", 1e6 * time}, {"bytes", bytes}, {"bytes_per_second", bytes / time}};
    bytes_ += bytes;
    seconds_ += time;
  }
  void add_product(const std::string& name, const std::function<void()>& work) {
    products_[name] = 1e6 * seconds(on_, work);
  }
  [[nodiscard]] nlohmann::json json() const {
    return {{"kernels", rows_}, {"bytes_per_second", bytes_ / seconds_}, {"products_us", products_}};
  }

 private:
  c10::Device on_;
  nlohmann::json rows_, products_;
  double bytes_ = 0, seconds_ = 0;
};

void sequence(Table& table, Kernels& k, const Shape& s, const at::TensorOptions& options) {
  const int64_t n = s.tokens, c = s.width;
  const double unit = 2.0 * static_cast<double>(n * c);
  const at::Tensor x = at::randn({n, c}, options), residual = at::randn({n, c}, options), weight = at::ones({c}, options);
  const at::Tensor bias = at::zeros({c}, options);
  const auto normed = k.norm(Kernels::Norm::layer, x, residual, weight, bias, 1e-5);
  table.add("layer_norm", 4 * unit, [&] { k.norm(Kernels::Norm::layer, x, residual, weight, bias, 1e-5); });
  table.add("layer_norm_backward", 4 * unit, [&] {
    k.norm_backward(Kernels::Norm::layer, x, residual, normed.sum, normed.mean_N, normed.inverse_N, weight, true);
  });
  const auto root = k.norm(Kernels::Norm::rms, x, residual, weight, {}, 1e-5);
  table.add("rms_norm", 4 * unit, [&] { k.norm(Kernels::Norm::rms, x, residual, weight, {}, 1e-5); });
  table.add("rms_norm_backward", 4 * unit, [&] {
    k.norm_backward(Kernels::Norm::rms, x, residual, root.sum, {}, root.inverse_N, weight, false);
  });
  table.add("add_bias", 3 * unit, [&] { k.add_bias(residual, x, bias); });
  table.add("column_sums", unit, [&] { k.column_sums(x, at::kBFloat16); });
  const int64_t length = std::min<int64_t>(n, 1024), heads = std::max<int64_t>(1, c / 64);
  const at::Tensor packed = x.view({n / length, length, heads, c / heads});
  const at::Tensor angle = at::rand({length, c / heads / 2}, options.dtype(at::kFloat));
  table.add("rotary", 2 * unit, [&] { k.rotary(packed, angle, angle, false); });
  const at::Tensor seeds = at::arange(n / length, options.dtype(at::kLong));
  table.add("dropout", 2 * unit, [&] { k.dropout(packed, 0.1, seeds); });
  const at::Tensor indices = at::randint(s.vocabulary, {n}, options.dtype(at::kLong));
  table.add("embedding_backward", unit + 2.0 * static_cast<double>(s.vocabulary * c),
            [&] { k.embedding_backward(x, indices, s.vocabulary); });
}

void activations(Table& table, Kernels& k, const Shape& s, const at::TensorOptions& options) {
  const int64_t n = s.tokens, c = s.width;
  const double unit = 2.0 * static_cast<double>(n * c);
  const at::Tensor x = at::randn({n, c}, options), w = at::randn({c, 4 * c}, options) * 0.02, b = at::zeros({4 * c}, options);
  const at::Tensor before = at::randn({n, 4 * c}, options), gradient = at::randn({n, 4 * c}, options);
  const at::Tensor out = w.t().contiguous();
  table.add("gelu", 8 * unit, [&] { k.gelu(before); });
  table.add("gelu_backward", 12 * unit, [&] { k.gelu_backward(before, gradient); });
  table.add("swiglu", 12 * unit, [&] { k.swiglu(before, gradient); });
  table.add("swiglu_backward", 20 * unit, [&] { k.swiglu_backward(before, gradient, before); });
  table.add_product("fc, bias", [&] { k.linear(x, w, false, b); });
  table.add_product("fc, bias, gelu, in one", [&] { k.linear_gelu(x, w, false, b); });
  table.add_product("fc, bias, gelu, apart", [&] { k.gelu(k.linear(x, w, false, b)); });
  table.add_product("fc projection's input gradient, gelu, bias, in one", [&] { k.linear_gelu_backward(x, out, false, before); });
  table.add_product("fc projection's input gradient, gelu, bias, apart", [&] {
    const auto d = k.linear_backward(x, before, out, false, {true, false, false});
    k.column_sums(k.gelu_backward(before, d.x_NI), at::kBFloat16);
  });
  table.add_product("fc weight gradient, bias, in one", [&] { k.linear_backward(gradient, x, w, false, {false, true, true}); });
  table.add_product("fc weight gradient, bias, apart", [&] {
    k.linear_backward(gradient, x, w, false, {false, true, false});
    k.column_sums(gradient, at::kBFloat16);
  });
}

void loss(Table& table, Kernels& k, const Shape& s, const at::TensorOptions& options) {
  const at::Tensor logits = at::randn({s.tokens, s.vocabulary}, options);
  const double bytes = 2.0 * static_cast<double>(logits.numel());
  const at::Tensor targets = at::randint(s.vocabulary, {s.tokens}, options.dtype(at::kLong));
  const auto rows = k.cross_entropy(logits, targets, {}, -100);
  const at::Tensor one = at::ones({}, options.dtype(at::kFloat));
  table.add("cross_entropy", bytes, [&] { k.cross_entropy(logits, targets, {}, -100); });
  table.add("cross_entropy_backward", 2 * bytes, [&] { k.cross_entropy_backward(logits, logits, rows, one); });
}

void update(Table& table, Kernels& k, const Shape& s, const at::TensorOptions& options) {
  constexpr int64_t tensors = 148;  // of GPT-2 with 12 layers
  const int64_t size = std::max<int64_t>(8, s.parameters / tensors);
  const auto number = static_cast<double>(size * tensors);
  const at::TensorOptions real = options.dtype(at::kFloat);
  std::vector<at::Tensor> gradients;
  std::vector<ops::UpdateEntry> entries;
  for (int64_t i = 0; i < tensors; ++i) {
    ops::UpdateEntry entry{at::randn({size}, options), at::randn({size}, real), at::randn({size}, real),
                           {at::zeros({size}, real), at::zeros({size}, real)}};
    gradients.push_back(entry.gradient);
    entries.push_back(std::move(entry));
  }
  table.add("square_sum", 4 * number, [&] { k.square_sum(gradients); });
  const auto step = k.make_update({}, entries);
  const ops::MultiTensorUpdate::Inputs inputs{at::full({}, 1e-4, real.dtype(at::kDouble)), at::ones({}, real), at::zeros({}, real),
                                              at::zeros({}, real.dtype(at::kLong)), {}};
  // Reads gradient, master and moments; writes the last three, the parameter, and zeros.
  table.add("adamw", 34 * number, [&] { step->step(inputs); });
}

int run(const Arguments& arguments, const std::string& name) {
  device::Backend& backend = device::load_backend(name);
  backend.use(0);
  const c10::Device on(backend.type(), 0);
  const Shape shape{arguments.number("tokens", 65536), arguments.number("width", 768), arguments.number("vocabulary", 50304),
                    arguments.number("parameters", 124475904)};
  const at::TensorOptions options = at::TensorOptions(on).dtype(at::kBFloat16);
  Kernels& kernels = *ops::kernels_for(at::empty({1}, options));
  Table table(on);
  sequence(table, kernels, shape, options);
  activations(table, kernels, shape, options);
  loss(table, kernels, shape, options);
  update(table, kernels, shape, options);
  nlohmann::json figures = table.json();
  figures["device"] = backend.devices().at(0).name;
  report("gpu_kernels", figures);
  return 0;
}

}  // namespace
}  // namespace trireme::bench

int main(int argc, char** argv) {
  std::string back_end = "cuda";
  for (int i = 1; i + 1 < argc; ++i)
    if (std::string(argv[i]) == "--back-end") back_end = argv[i + 1];
  return trireme::bench::run(trireme::bench::Arguments(argc, argv), back_end);
}
