#include "parallel/flat_parameters.h"

#include <trireme/core/error.h>

#include <utility>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/variable.h>

namespace trireme::parallel {

namespace {

c10::StorageImpl& storage_of(const at::Tensor& tensor) {
  return *tensor.storage().unsafeGetStorageImpl();
}

}  // namespace

FlatParameters::FlatParameters(comm::CommunicatorPtr shards, core::ParameterSet parameters,
                               bool freeable, Traffic& traffic)
    : shards_(std::move(shards)),
      parameters_(std::move(parameters)),
      freeable_(freeable && shards_->size() > 1),
      traffic_(traffic),
      plan_(plan_shards(core::elements_of_each(parameters_), shards_->size())) {
  check(!parameters_.empty(), "there are parameters to cut");
  const at::NoGradGuard no_grad;
  whole_ = at::zeros({plan_.elements}, parameters_.front().tensor.options().requires_grad(false));
  for (const Slot& slot : plan_.slots) {
    const at::Tensor& parameter = parameters_[slot.parameter].tensor;
    check(parameter.is_leaf() && parameter.options().type_equal(whole_.options()),
          "parameters of one flat buffer are leaves of one type and device: '" +
              parameters_[slot.parameter].name + "'");
    const at::Tensor place = whole_.narrow(0, slot.offset, slot.elements).view(parameter.sizes());
    place.copy_(parameter);
    parameter.set_data(place);
  }
  const at::Tensor own = whole_.narrow(0, plan_.shard * shards_->rank(), plan_.shard);
  shard_ = freeable_ ? own.clone() : own;
  versions_.resize(parameters_.size());
  note_versions();
}

void FlatParameters::note_versions() {
  for (size_t i = 0; i < parameters_.size(); ++i)
    versions_[i] = static_cast<uint32_t>(parameters_[i].tensor._version());
}

void FlatParameters::take_memory() {
  c10::StorageImpl& storage = storage_of(whole_);
  if (storage.data() != nullptr) return;
  const size_t bytes = static_cast<size_t>(whole_.numel()) * whole_.element_size();
  storage.set_data_ptr_noswap(storage.allocator()->allocate(bytes));
  storage.set_nbytes(bytes);
}

void FlatParameters::gather() {
  if (state_ != Whole::absent) return;
  take_memory();
  gathering_ = shards_->all_gather(whole_, shard_);
  state_ = Whole::gathering;
}

void FlatParameters::wait() {
  check(state_ != Whole::absent, "gather() comes before wait()");
  if (state_ == Whole::present) return;
  traffic_.wait(gathering_, whole_);
  gathering_ = nullptr;
  note_versions();
  state_ = Whole::present;
}

void FlatParameters::free() {
  if (!freeable_ || state_ == Whole::absent) return;
  wait();
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (static_cast<uint32_t>(parameters_[i].tensor._version()) != versions_[i])
      throw Error(ErrorKind::plugin_failed,
                  "parameter '" + parameters_[i].name +
                      "' was changed in place while it was gathered: the change would be lost",
                  "let the optimizer alone change parameters, or use parallel.strategy: ddp");
  c10::StorageImpl& storage = storage_of(whole_);
  storage.set_data_ptr_noswap(at::DataPtr(nullptr, whole_.device()));
  storage.set_nbytes(0);
  state_ = Whole::absent;
}

void FlatParameters::invalidate() {
  if (freeable_) return free();
  if (shards_->size() > 1) state_ = Whole::absent;
}

size_t FlatParameters::references() const {
  size_t count = whole_.storage().use_count();
  for (const core::Parameter& p : parameters_)
    count += p.tensor.use_count() -
             (torch::autograd::impl::try_get_grad_accumulator(p.tensor) != nullptr ? 1 : 0);
  return count;
}

bool FlatParameters::referenced_elsewhere() const {
  const size_t views = freeable_ ? 0 : 1;  // the shard
  return whole_.storage().use_count() > 1 + views + parameters_.size();
}

}  // namespace trireme::parallel
