#include <trireme/ops/embedding.h>
#include <trireme/ops/norm.h>

#include "support/kernel_implementations.h"
#include "support/operation_results.h"

namespace trireme::ops {
namespace {

// Sums over many rows by kernels: a race, or an order that nothing fixes, would show in the last
// bits.
void expect_one_result(const Operation& operation, const Tensors& inputs, const Tensors& given) {
  Tensors first;
  for (const KernelImplementation& implementation : kernel_implementations()) {
    if (!implementation.kernels) continue;
    const auto opened = implementation.open();
    const Tensors found = copies(results_and_gradients(operation, copies(inputs, implementation.device, at::kFloat), given),
                                 at::kCPU, at::kFloat);
    if (first.empty()) first = found;
    expect_equal_bits(found, first);
  }
}

TEST(ThreadOrder, ChangesNoBitOfNorms) {
  at::manual_seed(1);
  for (const int64_t columns : {33, 256, 700, 2048}) {
    const Tensors in = {at::randn({150, columns}), at::randn({150, columns}), at::randn({columns}), at::randn({columns})};
    expect_one_result(
        [](const Tensors& t) {
          const Normed made = layer_norm(t[0], t[1], t[2], t[3], 1e-5);
          return Tensors{made.y, made.sum};
        },
        in, {at::randn({150, columns}), at::randn({150, columns})});
  }
}

TEST(ThreadOrder, ChangesNoBitOfEmbeddings) {
  at::manual_seed(1);
  const at::Tensor indices = at::randint(9, {2000}, at::TensorOptions(at::kLong));
  for (const int64_t columns : {33, 1200})
    expect_one_result([&](const Tensors& t) { return Tensors{ops::embedding(t[0], indices.to(t[0].device()))}; },
                      {at::randn({12, columns})}, {at::randn({2000, columns})});
}

}  // namespace
}  // namespace trireme::ops
