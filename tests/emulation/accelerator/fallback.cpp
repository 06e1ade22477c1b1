#include "fallback.h"

#include "emulated.h"
#include "generator.h"
#include "heap.h"
#include "host_sync.h"
#include "host_views.h"
#include "streams.h"
#include "tape.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/library.h>

namespace trireme::emulated {
namespace {

using c10::IValue;
using torch::jit::Stack;

bool is_on_device(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().type() == device_type;
}

/// f(tensor) for the tensors of an argument or a result.
template <class F>
void for_each_tensor(const IValue& value, const F& f) {
  if (value.isTensor()) {
    f(value.toTensor());
  } else if (value.isList()) {
    for (const IValue& item : value.toListRef())
      if (item.isTensor()) f(item.toTensor());
  }
}

/// The same argument with f(tensor) in place of each tensor.
template <class F>
IValue with_tensors(const IValue& value, const F& f) {
  if (value.isTensor()) return f(value.toTensor());
  if (value.isTensorList()) {
    std::vector<at::Tensor> tensors;
    for (const IValue& item : value.toListRef()) tensors.push_back(f(item.toTensor()));
    return tensors;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> tensors;
    for (const IValue& item : value.toListRef())
      tensors.push_back(item.isTensor() ? std::optional(f(item.toTensor())) : std::nullopt);
    return tensors;
  }
  return value;
}

// What kernels of CUDA cannot size without looking at values.
bool shape_depends_on_values(const std::string& name) {
  static const std::set<std::string> names{
      "aten::nonzero",          "aten::masked_select", "aten::_unique",
      "aten::_unique2",         "aten::unique_dim",    "aten::unique_consecutive",
      "aten::bincount",         "aten::histc",         "aten::unique_dim_consecutive",
      "aten::repeat_interleave"};
  return names.contains(name);
}

// Answers about tensors that their values do not enter.
bool answers_without_values(const std::string& name) {
  static const std::set<std::string> names{
      "aten::is_pinned", "aten::is_set_to", "aten::_fused_sdp_choice",
      "aten::_has_compatible_shallow_copy_type", "aten::_has_same_storage_numel"};
  return names.contains(name);
}

bool makes_host_wait(const c10::FunctionSchema& schema) {
  if (shape_depends_on_values(schema.name())) return true;
  if (answers_without_values(schema.name())) return false;
  return std::any_of(schema.returns().begin(), schema.returns().end(),
                     [](const c10::Argument& result) {
                       const auto kind = result.type()->kind();
                       return kind != c10::TypeKind::TensorType && kind != c10::TypeKind::ListType;
                     });
}

// LibTorch moves index tensors of the host to the device itself.
bool may_lie_on_host(const c10::Argument& argument) {
  return argument.name() == "indices";
}

class Call {
 public:
  Call(const c10::OperatorHandle& operation, Stack& stack)
      : operation_(operation),
        schema_(operation.schema()),
        stack_(stack),
        arguments_(stack.end() - static_cast<std::ptrdiff_t>(schema_.arguments().size()),
                   stack.end()),
        device_(find_device()),
        views_(device_) {}

  void run() {
    if (computes_on_device_ && makes_host_wait(schema_)) host_sync(schema_.name());
    Tape* tape = Tape::here();
    Stack host = on_host();
    if (tape != nullptr)
      for_each_written([&](size_t i) {
        for_each_tensor(arguments_[i],
                        [&](const at::Tensor& tensor) { tape->will_write(address_of(tensor)); });
      });
    Stack results = host;
    execute(operation_, results);
    const bool moved = adopt_shapes(host);
    c10::DeviceGuard guard(device_);
    Stack returned = on_device(results);
    if (tape != nullptr) append_to(*tape, moved ? on_host() : std::move(host));
    torch::jit::drop(stack_, arguments_.size());
    for (IValue& value : returned) stack_.push_back(std::move(value));
  }

 private:
  static void execute(const c10::OperatorHandle& operation, Stack& stack) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const Access access;
    operation.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack);
  }

  static const void* address_of(const at::Tensor& tensor) {
    return tensor.defined() && tensor.has_storage() ? tensor.storage().data() : nullptr;
  }

  c10::Device find_device() {
    std::optional<c10::Device> found;
    for (const IValue& value : arguments_) {
      for_each_tensor(value, [&](const at::Tensor& tensor) {
        if (!is_on_device(tensor)) return;
        TORCH_CHECK(!found || *found == tensor.device(), schema_.name(),
                    ": Expected all tensors to be on the same device, but found ", *found, " and ",
                    tensor.device());
        found = tensor.device();
      });
    }
    computes_on_device_ = found.has_value();
    for (const IValue& value : arguments_)
      if (!found && value.isDevice() && value.toDevice().type() == device_type)
        found = value.toDevice();
    if (!found || !found->has_index())
      found = c10::Device(device_type, static_cast<c10::DeviceIndex>(current_device()));
    return *found;
  }

  Stack on_host() {
    Stack host;
    for (size_t i = 0; i < arguments_.size(); ++i) {
      const IValue& value = arguments_[i];
      const c10::Argument& argument = schema_.arguments()[i];
      for_each_tensor(value, [&](const at::Tensor& tensor) {
        if (!computes_on_device_ || !tensor.defined() || is_on_device(tensor)) return;
        if (may_lie_on_host(argument))
          return host_sync(schema_.name() + " with an index on the host");
        TORCH_CHECK(tensor.dim() == 0, schema_.name(),
                    ": Expected all tensors to be on the same device, but '", argument.name(),
                    "' is on the CPU and others are on ", device_);
      });
      if (value.isDevice())
        host.emplace_back(c10::Device(c10::DeviceType::CPU));
      else if (value.isGenerator())
        host.emplace_back(drawn_from(value.toGenerator()));
      else if (value.isNone() && argument.name() == "generator")
        host.emplace_back(drawn_from(default_generator(device_.index())));
      else
        host.push_back(
            with_tensors(value, [&](const at::Tensor& tensor) { return views_.on_host(tensor); }));
    }
    return host;
  }

  template <class F>
  void for_each_written(const F& f) const {
    for (size_t i = 0; i < arguments_.size(); ++i) {
      const c10::AliasInfo* alias = schema_.arguments()[i].alias_info();
      if (alias != nullptr && alias->isWrite()) f(i);
    }
  }

  /// Arguments that the operation made larger become so on the device. Returns whether there were
  /// any.
  bool adopt_shapes(const Stack& host) {
    bool any = false;
    for_each_written([&](size_t i) {
      if (!arguments_[i].isTensor() || !is_on_device(arguments_[i].toTensor())) return;
      const at::Tensor& mine = arguments_[i].toTensor();
      const at::Tensor& theirs = host[i].toTensor();
      const bool elsewhere = theirs.storage().data() != mine.storage().data();
      if (!elsewhere && theirs.sizes() == mine.sizes() && theirs.strides() == mine.strides())
        return;
      any = true;
      reshape_memory(mine, theirs.sizes(), theirs.strides());
      const Access access;
      if (elsewhere && theirs.storage().nbytes() > 0)
        std::memcpy(mine.storage().mutable_data(), theirs.storage().data(),
                    std::min(mine.storage().nbytes(), theirs.storage().nbytes()));
    });
    if (any) views_ = HostViews(device_);
    return any;
  }

  /// Results that are arguments are the very arguments.
  Stack on_device(const Stack& results) {
    Stack returned;
    for (size_t i = 0; i < results.size(); ++i) {
      const c10::AliasInfo* alias = schema_.returns()[i].alias_info();
      std::optional<size_t> argument;
      if (alias != nullptr && alias->isWrite())
        for_each_written([&](size_t j) {
          if (*schema_.arguments()[j].alias_info() == *alias) argument = j;
        });
      if (argument)
        returned.push_back(arguments_[*argument]);
      else
        returned.push_back(with_tensors(
            results[i], [&](const at::Tensor& tensor) { return views_.on_device(tensor); }));
    }
    return returned;
  }

  void append_to(Tape& tape, Stack host) {
    for (IValue& value : host)
      value = with_tensors(value, [&](const at::Tensor& tensor) { return frozen(tape, tensor); });
    tape.append(
        schema_.name(), [operation = operation_, host = std::move(host), copied = views_.copied()] {
          Stack stack = host;
          execute(operation, stack);
          std::set<const void*> seen;
          for (const IValue& argument : host)
            for_each_tensor(argument, [&](const at::Tensor& tensor) {
              if (tensor.defined()) seen.insert(tensor.storage().unsafeGetStorageImpl());
            });
          const Access access;
          auto to = copied.begin();
          for (const IValue& result : stack)
            for_each_tensor(result, [&](const at::Tensor& tensor) {
              if (!tensor.defined() || !seen.insert(tensor.storage().unsafeGetStorageImpl()).second)
                return;
              TORCH_CHECK(to != copied.end() && to->bytes == tensor.storage().nbytes(),
                          "a repeated operation gave another shape");
              if (to->bytes > 0) std::memcpy(to->to, address_of(tensor), to->bytes);
              ++to;
            });
        });
  }

  /// An argument as replays find it: memory of the device lies where it lay, values of the host are
  /// those of the recording.
  static at::Tensor frozen(Tape& tape, const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    if (device_heap().find(address_of(tensor))) {
      tape.uses(address_of(tensor));
      return tensor;
    }
    if (tensor.storage().nbytes() == 0) return tensor;
    at::Tensor copy = tensor.clone();
    if (tensor.unsafeGetTensorImpl()->is_wrapped_number())
      copy.unsafeGetTensorImpl()->set_wrapped_number(true);
    return copy;
  }

  const c10::OperatorHandle& operation_;
  const c10::FunctionSchema& schema_;
  Stack& stack_;
  Stack arguments_;
  bool computes_on_device_ = false;
  c10::Device device_;
  HostViews views_;
};

}  // namespace

void run_on_host(const c10::OperatorHandle& operation, Stack* stack) {
  Call(operation, *stack).run();
}

}  // namespace trireme::emulated

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&trireme::emulated::run_on_host>());
}
