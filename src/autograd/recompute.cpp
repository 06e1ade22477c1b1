#include <trireme/autograd/recompute.h>
#include <trireme/autograd/saved_tensors.h>
#include <trireme/core/error.h>

#include "autograd/compute_state.h"
#include "autograd/kept_tensor.h"
#include "autograd/provider_stack.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/SequenceNumber.h>
#include <torch/csrc/autograd/functions/basic_ops.h>
#include <torch/csrc/autograd/variable.h>

#include <fmt/format.h>

namespace trireme::autograd {

namespace {

using Tensors = std::vector<at::Tensor>;

thread_local int depth = 0;

class RecomputingScope {
 public:
  RecomputingScope() { ++depth; }
  ~RecomputingScope() { --depth; }
  RecomputingScope(const RecomputingScope&) = delete;
  RecomputingScope& operator=(const RecomputingScope&) = delete;
};

std::string description(at::ScalarType type, at::IntArrayRef sizes) {
  return fmt::format("{} [{}]", at::toString(type), fmt::join(sizes, ", "));
}

// An input of a region from its forward to its recomputation.
class RegionInput {
 public:
  explicit RegionInput(const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    requires_grad_ = tensor.requires_grad();
    is_parameter_ = is_parameter(tensor);
    SavedTensorProvider* const outer = is_parameter_ ? nullptr : current_provider();
    if (outer != nullptr) saved_ = outer->make();
    if (saved_)
      saved_->pack(tensor);
    else
      kept_ = KeptTensor(tensor);
  }

  [[nodiscard]] bool changed() const { return kept_.changed(); }

  /// Again what it was in every respect that decides what operations save. Only an activation's
  /// origin is missing: the graph of the second time is never run.
  [[nodiscard]] at::Tensor restored() const {
    const at::Tensor values = saved_ ? saved_->unpack() : kept_.tensor();
    if (!values.defined() || values.requires_grad()) return values;
    if (!requires_grad_) return values.detach();
    if (is_parameter_) return values.detach().requires_grad_(true);
    const auto nowhere = std::make_shared<torch::autograd::Error>("a recomputed region ends here");
    return torch::autograd::make_variable(values, torch::autograd::Edge(nowhere, 0));
  }

 private:
  KeptTensor kept_;
  std::unique_ptr<SavedTensor> saved_;
  bool requires_grad_ = false;
  bool is_parameter_ = false;
};

// Leaves the forward when all that is wanted has been collected. No std::exception: fewer catch it.
struct EnoughCollected {};

// One call of recomputed(). The tensors that its operations save own it.
class Region {
 public:
  Region(std::string name, RegionForward forward, const Tensors& inputs)
      : name_(std::move(name)), forward_(std::move(forward)), autocast_(AutocastState::now()) {
    const at::NoGradGuard no_grad;
    inputs_.reserve(inputs.size());
    for (const at::Tensor& input : inputs) inputs_.emplace_back(input);
  }

  /// The first time; `region` is this one.
  static Tensors run(const std::shared_ptr<Region>& region, const Tensors& inputs);

  /// The number of a tensor that is being saved.
  size_t add(const at::Tensor& tensor, bool wanted) {
    const std::lock_guard lock(mutex_);
    slots_.push_back({.type = tensor.scalar_type(),
                      .sizes = tensor.sizes().vec(),
                      .storage = wanted ? nullptr : storage_of(tensor),
                      .nodes = nodes_since_start(),
                      .wanted = wanted});
    return slots_.size() - 1;
  }
  at::Tensor value(size_t number);
  void release(size_t number) {
    at::Tensor freed;  // without the lock
    const std::lock_guard lock(mutex_);
    slots_[number].wanted = false;
    freed = std::move(slots_[number].values);
  }

 private:
  class Collector;

  struct Slot {
    at::ScalarType type;
    std::vector<int64_t> sizes;
    const void* storage;  // of what is a parameter or a view of one
    uint64_t nodes;       // of the graph, made before it was saved
    bool wanted;
    at::Tensor values{};
    int64_t version = 0;
  };

  static const void* storage_of(const at::Tensor& tensor) {
    return tensor.has_storage() ? tensor.storage().unsafeGetStorageImpl() : nullptr;
  }
  [[nodiscard]] uint64_t nodes_since_start() const {
    return at::sequence_number::peek() - nodes_at_start_;
  }
  void recompute();
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(
        ErrorKind::plugin_failed,
        fmt::format("the recomputed unit '{}' does not compute the same twice: {}", name_, what),
        "make its forward a function of its inputs and parameters alone (no counters, "
        "caches or random numbers of its own), or do not recompute it");
  }

  [[noreturn]] void refuse_backward_inside() const {
    throw Error(ErrorKind::plugin_failed,
                fmt::format("the recomputed unit '{}' runs a backward in its forward", name_),
                "do not recompute this unit");
  }

  const std::string name_;
  RegionForward forward_;
  std::vector<RegionInput> inputs_;
  AutocastState autocast_;
  GeneratorStates generators_;
  uint64_t nodes_at_start_ = 0;

  // Device threads of the engine may want the same region. Recursive: the forward may drop what it
  // remembered of its first time.
  std::recursive_mutex mutex_;
  std::vector<Slot> slots_;
  enum class Stage { forward, waiting, recomputing, collected } stage_ = Stage::forward;
};

// Takes what the second time saves, in order.
class Region::Collector final : public SavedTensorProvider {
 public:
  explicit Collector(Region& region) : region_(region) {
    for (size_t i = 0; i < region_.slots_.size(); ++i)
      if (region_.slots_[i].wanted) end_ = i + 1;
  }
  std::unique_ptr<SavedTensor> make() override { return std::make_unique<Collected>(*this); }
  [[nodiscard]] bool complete() const { return next_ == end_; }
  [[nodiscard]] size_t count() const { return next_; }

 private:
  class Collected final : public SavedTensor {
   public:
    explicit Collected(Collector& collector) : collector_(&collector) {}
    void pack(const at::Tensor& tensor) override { collector_->take(tensor); }
    at::Tensor unpack() override {
      throw Error(
          ErrorKind::plugin_failed,
          "a backward through what a recomputed unit computed the second time",
          "return from the unit's forward whatever is part of the loss; do not keep it aside");
    }

   private:
    Collector* collector_;  // gone before the graph of the second time may be
  };

  void take(const at::Tensor& tensor) {
    if (!complete()) compare_and_keep(tensor, region_.slots_[next_]);
    if (complete()) throw EnoughCollected{};
  }

  void compare_and_keep(const at::Tensor& tensor, Slot& slot) {
    if (tensor.scalar_type() != slot.type || tensor.sizes() != slot.sizes)
      region_.refuse(fmt::format("saved tensor {} is {}, the first time it was {}", next_,
                                 description(tensor.scalar_type(), tensor.sizes()),
                                 description(slot.type, slot.sizes)));
    if (slot.storage != nullptr && slot.storage != storage_of(tensor))
      region_.refuse(fmt::format("saved tensor {} is not the parameter that it was", next_));
    // Under autocast the first time may have found casts in the cache, which are nodes as well.
    if (!region_.autocast_.any() && slot.nodes != region_.nodes_since_start())
      region_.refuse(
          fmt::format("another number of operations comes before saved tensor {}", next_));
    ++next_;
    if (!slot.wanted) return;
    slot.values = tensor.detach();
    slot.version = tensor._version();
  }

  Region& region_;
  size_t next_ = 0;
  size_t end_ = 0;  // behind the last that is wanted
};

// What an operation of the first time saves.
class RegionTensor final : public SavedTensor {
 public:
  explicit RegionTensor(std::shared_ptr<Region> region) : region_(std::move(region)) {}
  ~RegionTensor() override {
    if (number_) region_->release(*number_);
  }
  RegionTensor(const RegionTensor&) = delete;
  RegionTensor& operator=(const RegionTensor&) = delete;

  void pack(const at::Tensor& tensor) override {
    const bool wanted = !is_parameter(tensor);
    const size_t number = region_->add(tensor, wanted);
    if (wanted)
      number_ = number;
    else
      kept_ = KeptTensor(tensor);
  }
  at::Tensor unpack() override { return number_ ? region_->value(*number_) : kept_.tensor(); }

 private:
  std::shared_ptr<Region> region_;
  std::optional<size_t> number_;
  KeptTensor kept_;
};

class RegionTensors final : public SavedTensorProvider {
 public:
  explicit RegionTensors(std::shared_ptr<Region> region) : region_(std::move(region)) {}
  std::unique_ptr<SavedTensor> make() override { return std::make_unique<RegionTensor>(region_); }

 private:
  std::shared_ptr<Region> region_;
};

Tensors Region::run(const std::shared_ptr<Region>& region, const Tensors& inputs) {
  const GeneratorStates before = GeneratorStates::now(inputs);
  RegionTensors provider(region);
  region->nodes_at_start_ = at::sequence_number::peek();
  Tensors outputs;
  {
    const SavedTensorScope scope(provider);
    outputs = region->forward_(inputs);
  }
  // Mostly nothing was drawn, and nothing need be kept or brought back.
  if (!before.still_hold()) region->generators_ = before;
  const std::lock_guard lock(region->mutex_);
  region->stage_ = Stage::waiting;
  return outputs;
}

at::Tensor Region::value(size_t number) {
  RegionForward done_forward;  // what these own is freed without the lock
  std::vector<RegionInput> done_inputs;
  const std::lock_guard lock(mutex_);
  if (stage_ == Stage::forward || stage_ == Stage::recomputing) refuse_backward_inside();
  if (stage_ == Stage::waiting) {
    recompute();
    done_forward.swap(forward_);
    done_inputs.swap(inputs_);
  }
  const Slot& slot = slots_[number];
  if (slot.values._version() != slot.version)
    throw Error(ErrorKind::plugin_failed,
                fmt::format("the recomputed unit '{}' changes a tensor in place that its backward "
                            "needs",
                            name_),
                "use the operation that returns a new tensor");
  return slot.values;
}

void Region::recompute() {
  Tensors inputs;  // before anything else: they may have to be recomputed by a region around this
  for (const RegionInput& input : inputs_) {
    if (input.changed())
      throw Error(
          ErrorKind::plugin_failed,
          fmt::format("an input of the recomputed unit '{}' was changed in place before its "
                      "backward",
                      name_),
          "use the operation that returns a new tensor, or do not recompute the unit");
    inputs.push_back(input.restored());
  }

  const at::AutoGradMode with_graph(true);
  const AutocastStateScope autocast(autocast_);
  const GeneratorStatesScope generators(generators_);
  const RecomputingScope recomputing_here;
  Collector collector(*this);
  stage_ = Stage::recomputing;
  nodes_at_start_ = at::sequence_number::peek();
  try {
    const SavedTensorScope scope(collector);
    static_cast<void>(forward_(inputs));
    if (!collector.complete())
      refuse(fmt::format("it saves {} tensors, the first time there were {}", collector.count(),
                         slots_.size()));
  } catch (...) {
    // Complete: EnoughCollected, or what the forward made of it.
    if (!collector.complete()) {
      for (Slot& slot : slots_) slot.values.reset();
      stage_ = Stage::waiting;
      throw;
    }
  }
  stage_ = Stage::collected;
}

}  // namespace

Tensors recomputed(const std::string& name, const RegionForward& forward, const Tensors& inputs) {
  if (!at::GradMode::is_enabled()) return forward(inputs);
  return Region::run(std::make_shared<Region>(name, forward, inputs), inputs);
}

bool recomputing() {
  return depth > 0;
}

}  // namespace trireme::autograd
