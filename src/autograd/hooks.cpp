#include <trireme/autograd/hooks.h>
#include <trireme/core/error.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

namespace trireme::autograd {

namespace detail {

struct GradientCallback {
  std::function<void(const at::Tensor&)> function;
  std::atomic<bool> removed = false;
};

}  // namespace detail

namespace {

using Entry = std::shared_ptr<detail::GradientCallback>;

// LibTorch has one slot a tensor, and setting it replaces what was there; this is what stands in
// the slot. The tensor owns it.
class Multiplexer final : public torch::autograd::PostAccumulateGradHook {
 public:
  void operator()(const at::Tensor& parameter) override {
    std::vector<Entry> entries;
    {
      const std::lock_guard lock(mutex_);
      std::erase_if(entries_, [](const Entry& e) { return e->removed.load(); });
      entries = entries_;  // callbacks may register and remove callbacks
    }
    for (const Entry& entry : entries)
      if (!entry->removed.load()) entry->function(parameter);
  }

  void add(Entry entry) {
    const std::lock_guard lock(mutex_);
    entries_.push_back(std::move(entry));
  }

 private:
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

Multiplexer& multiplexer_of(const at::Tensor& parameter) {
  if (auto& slot = torch::autograd::impl::post_acc_grad_hooks(parameter)) {
    auto* ours = dynamic_cast<Multiplexer*>(slot.get());
    check(ours != nullptr, "a parameter's gradient hook was set past trireme::autograd");
    return *ours;
  }
  auto made = std::make_unique<Multiplexer>();
  Multiplexer& ours = *made;
  torch::autograd::impl::set_post_acc_grad_hooks(parameter, std::move(made));
  return ours;
}

}  // namespace

GradientHook::GradientHook(std::shared_ptr<detail::GradientCallback> callback)
    : callback_(std::move(callback)) {}
GradientHook::~GradientHook() {
  remove();
}
GradientHook::GradientHook(GradientHook&& other) noexcept
    : callback_(std::exchange(other.callback_, nullptr)) {}

GradientHook& GradientHook::operator=(GradientHook&& other) noexcept {
  if (this != &other) {
    remove();
    callback_ = std::exchange(other.callback_, nullptr);
  }
  return *this;
}

void GradientHook::remove() noexcept {
  if (const auto callback = std::exchange(callback_, nullptr)) callback->removed.store(true);
}

GradientHook on_gradient_accumulated(const at::Tensor& parameter,
                                     std::function<void(const at::Tensor&)> callback) {
  check(parameter.is_leaf() && parameter.requires_grad(),
        "gradient hooks need a leaf that requires grad");
  auto entry = std::make_shared<detail::GradientCallback>();
  entry->function = std::move(callback);
  multiplexer_of(parameter).add(entry);
  return GradientHook(std::move(entry));
}

}  // namespace trireme::autograd
