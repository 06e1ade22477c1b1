#include "trainer/measurements.h"

#include <algorithm>

#include <trireme/device/backend.h>
#include <trireme/device/optimization.h>
#include <trireme/device/peak_flops.h>

#include <ATen/ATen.h>

namespace trireme::trainer {
namespace {

std::optional<double> peak_flops_of(const RunConfig& config, const Parts& parts) {
  if (config.telemetry.peak_tflops) return *config.telemetry.peak_tflops * 1e12;
  const device::Backend* const backend = device::backend_of(parts.device.type());
  if (backend == nullptr) return std::nullopt;
  return device::peak_flops(backend->devices().at(static_cast<size_t>(parts.device.index())).name, parts.precision.compute,
                            device::compute_settings(config.device, config.run.deterministic).tf32);
}

}  // namespace

Measurements::Measurements(const RunConfig& config, Parts& parts, const StateForecast& forecast)
    : flops_per_sample_(parts.model->flops_per_sample(parts.tokens_per_sample)), peak_flops_(peak_flops_of(config, parts)) {
  const parallel::StateBytes bytes = forecast.with(config.parallel.strategy);
  state_.parameters = static_cast<double>(bytes.parameters);
  state_.gradients = static_cast<double>(bytes.gradients);
  state_.optimizer = static_cast<double>(bytes.optimizer);
  passing_ = static_cast<double>(bytes.passing);
  for (const core::Parameter& buffer : parts.buffers) state_.buffers += static_cast<double>(buffer.tensor.nbytes());
  device::Backend* const backend = device::backend_of(parts.device.type());
  const auto period = std::chrono::milliseconds(static_cast<int64_t>(config.telemetry.sensors_seconds * 1000));
  if (backend != nullptr && period.count() > 0)
    sensors_.emplace([backend, index = parts.device.index()] { return backend->read(index); }, period);
}

void Measurements::begin(const data::LoaderCounters& loader) {
  waits_ = device::host_waits();
  load_ns_ = loader.load_ns;
}

report::RankExtras Measurements::since_last(std::span<const telemetry::StepRecord> steps, const data::LoaderCounters& loader) {
  report::RankExtras extras;
  const auto count = static_cast<double>(std::max<size_t>(1, steps.size()));
  const device::HostWaits waits = device::host_waits();
  extras.host_syncs = static_cast<double>(waits.count - waits_.count) / count;
  extras.host_sync_seconds = (waits.seconds - waits_.seconds) / count;
  waits_ = waits;
  extras.load_seconds = static_cast<double>(loader.load_ns - load_ns_) * 1e-9 / count;
  load_ns_ = loader.load_ns;

  double samples = 0;
  const telemetry::StepRecord* fullest = nullptr;
  for (const telemetry::StepRecord& step : steps) {
    samples += static_cast<double>(step.samples);
    if (fullest == nullptr || step.step_peak > fullest->step_peak) fullest = &step;
  }
  if (flops_per_sample_ > 0) extras.flops = flops_per_sample_ * samples / count;
  if (fullest != nullptr && fullest->step_peak > 0) {
    report::MemoryKinds kinds = state_;
    const auto in_step = static_cast<double>(fullest->step_peak - fullest->allocated_at_begin);
    const double passing = std::min(passing_, in_step);
    kinds.parameters += passing;
    kinds.activations = in_step - passing;
    kinds.batches = static_cast<double>(loader.held_bytes);
    extras.memory = kinds;
  }
  if (sensors_) {
    const telemetry::SensorWindow read = sensors_->take();
    extras.sensors = {.utilisation = read.utilisation,
                      .power_watts = read.power_watts,
                      .celsius = read.celsius,
                      .throttled = read.throttled};
  }
  return extras;
}

}  // namespace trireme::trainer
