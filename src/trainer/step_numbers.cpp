#include "trainer/step_numbers.h"

#include <ATen/ATen.h>

namespace trireme::trainer {
namespace {

constexpr int64_t lr_place = 0, votes_place = 1, vote_count = 4, request_size = votes_place + vote_count;

at::Tensor page_locked(int64_t size) {
  return at::zeros({size}, at::TensorOptions().dtype(at::kDouble).pinned_memory(true));
}

}  // namespace

StepRequests::StepRequests(at::Device device)
    : device_(device),
      values_(at::zeros({request_size}, at::TensorOptions(device).dtype(at::kDouble))),
      lr_(values_.select(0, lr_place)),
      votes_(values_.narrow(0, votes_place, vote_count)) {
  for (Slot& slot : ring_) slot.values = page_locked(request_size);
}

void StepRequests::send(double lr, Contribution::Votes mine) {
  Slot& slot = ring_[next_++ % ring_.size()];
  slot.sent.wait_on_host();
  auto* to = slot.values.mutable_data_ptr<double>();
  to[lr_place] = lr;
  to[votes_place] = mine.stop ? 1.0 : 0.0;
  to[votes_place + 1] = mine.save ? 1.0 : 0.0;
  to[votes_place + 2] = mine.saving ? 1.0 : 0.0;
  to[votes_place + 3] = mine.debug ? 1.0 : 0.0;
  values_.copy_(slot.values, /*non_blocking=*/true);
  slot.sent = device::Mark::now(device_);
}

StepAnswers::Answer StepAnswers::fetch(const at::Tensor& values) {
  at::Tensor& slot = ring_[next_++ % ring_.size()];
  if (!slot.defined() || slot.numel() != values.numel()) slot = page_locked(values.numel());
  slot.copy_(values, /*non_blocking=*/true);
  return {slot, device::Mark::now(device_)};
}

}  // namespace trireme::trainer
