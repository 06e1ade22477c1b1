#pragma once

#include <trireme/core/error.h>
#include <trireme/core/state.h>

#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>

namespace trireme::test {

/// A checkpoint in memory: takes whole tensors and gives boxes back.
class MemoryState final : public core::StateWriter, public core::StateReader {
 public:
  std::map<std::string, core::Scalar> scalars;
  std::map<std::string, at::Tensor> tensors;

  void scalar(const std::string& name, const core::Scalar& value) override {
    check(scalars.emplace(name, value).second, "a scalar is saved once: " + name);
  }
  void replicated(const std::string& name, const at::Tensor& values) override {
    check(values.is_contiguous(), "saved tensors are contiguous: " + name);
    check(tensors.emplace(name, values.detach().clone()).second, "a tensor is saved once: " + name);
  }
  void shard(const std::string& name, at::IntArrayRef shape, const core::Box& box,
             const at::Tensor& values) override {
    at::Tensor& whole = tensors.try_emplace(name, at::empty(shape, values.options())).first->second;
    part(whole, box).copy_(values);
  }

  [[nodiscard]] bool has(const std::string& name) const override {
    return scalars.contains(name) || tensors.contains(name);
  }
  [[nodiscard]] core::Scalar scalar(const std::string& name) const override {
    const auto found = scalars.find(name);
    if (found == scalars.end()) throw Error(ErrorKind::no_checkpoint, "no scalar '" + name + "'");
    return found->second;
  }
  [[nodiscard]] std::vector<int64_t> shape(const std::string& name) const override {
    return tensor(name).sizes().vec();
  }
  void read(const std::string& name, const core::Box& box, const at::Tensor& into) const override {
    const at::NoGradGuard no_grad;
    check(into.is_contiguous() && into.scalar_type() == tensor(name).scalar_type(),
          "reads are contiguous and of the stored type: " + name);
    into.copy_(part(tensor(name), box));
  }

 private:
  [[nodiscard]] const at::Tensor& tensor(const std::string& name) const {
    const auto found = tensors.find(name);
    if (found == tensors.end()) throw Error(ErrorKind::no_checkpoint, "no tensor '" + name + "'");
    return found->second;
  }
  static at::Tensor part(at::Tensor whole, const core::Box& box) {
    for (size_t d = 0; d < box.size.size(); ++d)
      whole = whole.narrow(static_cast<int64_t>(d), box.offset[d], box.size[d]);
    return whole;
  }
};

}  // namespace trireme::test
