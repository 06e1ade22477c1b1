#include "trainer/device_feed.h"

#include <utility>

#include <trireme/ops/dropout.h>

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace trireme::trainer {
namespace {

at::Tensor like_on(const at::Tensor& values, at::Device device) {
  return at::empty(values.sizes(), values.options().device(device).pinned_memory(false));
}

}  // namespace

core::Batch on_device(const core::Batch& batch, at::Device device) {
  if (device.is_cpu()) return batch;
  core::Batch there = batch;
  for (core::Batch::Field& field : there.fields) field.values = field.values.to(device);
  there.keys = ops::sample_keys(batch).to(device);
  return there;
}

std::function<at::Tensor(const at::Tensor&)> DeviceFeed::place(at::Device device, bool pin_memory) {
  if (device.is_cpu() || !pin_memory) return {};
  return [device](const at::Tensor& values) {
    const c10::DeviceGuard guard(device);  // a thread of the loader would take memory of the first device else
    return values.pin_memory();
  };
}

DeviceFeed::DeviceFeed(data::Loader& loader, const model::Model& model, at::Device device)
    : loader_(loader), model_(model), device_(device) {
  if (!device_.is_cpu())
    copying_ = c10::impl::VirtualGuardImpl(device_.type()).getStreamFromGlobalPool(device_, /*isHighPriority=*/false);
}

std::optional<data::LoadedBatch> DeviceFeed::next() {
  if (!copying_) return loader_.next();
  if (!ahead_) ahead_ = fetch();
  Ahead now = *std::exchange(ahead_, std::nullopt);
  if (now.error) std::rethrow_exception(now.error);
  if (!now.batch) return {};
  now.copied.wait_on_stream();
  ahead_ = fetch();  // while what is enqueued next computes
  return std::move(now.batch);
}

/// What is wrong with a batch is thrown in its turn, after the steps before it.
DeviceFeed::Ahead DeviceFeed::fetch() {
  Ahead ahead;
  try {
    ahead.batch = loader_.next();
    if (ahead.batch) copy(ahead);
  } catch (...) {
    ahead.error = std::current_exception();
  }
  return ahead;
}

void DeviceFeed::copy(Ahead& ahead) const {
  // The memory belongs to the computing stream, which may still read what lay there before.
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;
  const auto copy_later = [&](const at::Tensor& from) {
    copies.emplace_back(like_on(from, device_), from);
    return copies.back().first;
  };
  for (core::Batch& batch : ahead.batch->micro_batches) {
    model_.check_batch(batch);
    batch.keys = copy_later(ops::sample_keys(batch).pin_memory());
    for (core::Batch::Field& field : batch.fields) field.values = copy_later(field.values);
  }
  const device::Mark free = device::Mark::now(device_);
  const c10::StreamGuard guard(*copying_);
  free.wait_on_stream();
  for (const auto& [to, from] : copies) to.copy_(from, /*non_blocking=*/true);
  ahead.copied = device::Mark::now(device_);
}

}  // namespace trireme::trainer
