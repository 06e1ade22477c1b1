#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>

#include <trireme/data/loader.h>
#include <trireme/device/mark.h>
#include <trireme/model/model.h>

#include <c10/core/Stream.h>

namespace trireme::trainer {

/// A loader's batches on the device that computes. On a CPU they are the loader's own. On others each is copied, from
/// page-locked memory and by a stream of its own, while the step before computes; its values are checked before it leaves the
/// host, where looking at them costs nothing.
class DeviceFeed {
 public:
  /// Tensors that a loader finishes should go through this: page-locked where `device` can copy from it without waiting.
  [[nodiscard]] static std::function<at::Tensor(const at::Tensor&)> place(at::Device device, bool pin_memory);

  DeviceFeed(data::Loader& loader, const model::Model& model, at::Device device);

  /// As Loader::next(). What follows on the device's current stream sees the tensors.
  [[nodiscard]] std::optional<data::LoadedBatch> next();

 private:
  struct Ahead {
    std::optional<data::LoadedBatch> batch;
    device::Mark copied;
    std::exception_ptr error;
  };
  [[nodiscard]] Ahead fetch();
  void copy(Ahead& ahead) const;

  data::Loader& loader_;
  const model::Model& model_;
  at::Device device_;
  std::optional<c10::Stream> copying_;
  std::optional<Ahead> ahead_;
};

/// The batch with its tensors and keys on the device, copied by the current stream.
[[nodiscard]] core::Batch on_device(const core::Batch& batch, at::Device device);

}  // namespace trireme::trainer
