#include <trireme/autograd/backward.h>
#include <trireme/autograd/saved_tensors.h>
#include <trireme/core/error.h>

#include "autograd/provider_stack.h"

#include <mutex>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/engine.h>

namespace trireme::autograd {

namespace {

std::vector<SavedTensorProvider*>& providers() {
  thread_local std::vector<SavedTensorProvider*> stack;
  return stack;
}

class ProvidedHooks final : public torch::autograd::SavedVariableHooks {
 public:
  explicit ProvidedHooks(std::unique_ptr<SavedTensor> saved) : saved_(std::move(saved)) {}
  void call_pack_hook(const at::Tensor& tensor) override { saved_->pack(tensor); }
  at::Tensor call_unpack_hook() override { return saved_->unpack(); }

 private:
  std::unique_ptr<SavedTensor> saved_;
};

class Engine final : public torch::autograd::Engine {
 public:
  // Leaked on purpose: device threads of the engine may outlive static destruction.
  static torch::autograd::Engine& get() {
    static auto* engine = new Engine;
    return *engine;
  }

  std::unique_ptr<torch::autograd::SavedVariableHooks> get_default_saved_variable_hooks() override {
    SavedTensorProvider* const provider = current_provider();
    if (provider == nullptr) return nullptr;
    auto saved = provider->make();
    return saved ? std::make_unique<ProvidedHooks>(std::move(saved)) : nullptr;
  }
};

}  // namespace

SavedTensorProvider* current_provider() {
  return providers().empty() ? nullptr : providers().back();
}

SavedTensor::~SavedTensor() = default;
SavedTensorProvider::~SavedTensorProvider() = default;

SavedTensorScope::SavedTensorScope(SavedTensorProvider& provider) {
  install_engine();
  providers().push_back(&provider);
}
SavedTensorScope::~SavedTensorScope() {
  providers().pop_back();
}

void install_engine() {
  static std::once_flag once;
  std::call_once(once, [] {
    torch::autograd::set_default_engine_stub(Engine::get);
    // Gradients are accumulated on the stream of the step, which is not the default one.
    at::globalContext().setWarnOnAccumulateGradStreamMismatch(false);
  });
}

void backward(const at::Tensor& loss, const at::Tensor& scale) {
  check(loss.dim() == 0 && loss.requires_grad(), "backward needs a 0-dim loss that requires grad");
  install_engine();
  torch::autograd::backward({loss}, {scale.to(loss.scalar_type())});
}

void backward(const at::Tensor& loss, double scale) {
  backward(loss, at::full({}, scale, loss.options().requires_grad(false)));
}

void queue_final_callback(std::function<void()> callback) {
  torch::autograd::Engine::get_default_engine().queue_callback(std::move(callback));
}

}  // namespace trireme::autograd
