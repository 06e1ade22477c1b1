#pragma once

#include <array>
#include <cstdint>

#include <trireme/device/mark.h>

#include "trainer/contribution.h"

#include <ATen/core/Tensor.h>

namespace trireme::trainer {

/// What a step is told by the host: one small float64 tensor at a fixed address on the device.
class StepRequests {
 public:
  explicit StepRequests(at::Device device);

  /// Enqueues the copy on the current stream; the host goes on.
  void send(double lr, Contribution::Votes votes);

  [[nodiscard]] const at::Tensor& lr() const { return lr_; }        ///< 0-dim
  [[nodiscard]] const at::Tensor& votes() const { return votes_; }  ///< stop, save, saving, debug: 1 or 0

 private:
  // The host runs ahead of the device: a buffer is written again only when its copy has been made.
  struct Slot {
    at::Tensor values;  // page-locked
    device::Mark sent;
  };
  at::Device device_;
  at::Tensor values_, lr_, votes_;
  std::array<Slot, 4> ring_;
  size_t next_ = 0;
};

/// What a step tells the host, copied to page-locked memory behind it.
class StepAnswers {
 public:
  explicit StepAnswers(at::Device device) : device_(device) {}
  struct Answer {
    at::Tensor values;  ///< on the host, complete when `arrived` is reached; its memory is reused eight steps later
    device::Mark arrived;
  };
  /// `values`: one-dimensional float64 on the device.
  [[nodiscard]] Answer fetch(const at::Tensor& values);

 private:
  at::Device device_;
  std::array<at::Tensor, 8> ring_;
  size_t next_ = 0;
};

}  // namespace trireme::trainer
