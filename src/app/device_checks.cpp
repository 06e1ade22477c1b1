#include "app/device_checks.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>

#include <trireme/core/error.h>
#include <trireme/device/cores.h>
#include <trireme/device/mark.h>

namespace trireme::app {
namespace {

/// Seconds of one `work()` on the device, after a first one that warms up.
template <class F>
double seconds_of(const c10::Device& device, int repetitions, F&& work) {
  work();
  const device::Mark start = device::Mark::now(device, /*timed=*/true);
  for (int i = 0; i < repetitions; ++i) work();
  const device::Mark end = device::Mark::now(device, /*timed=*/true);
  end.wait_on_host();
  return std::max(end.seconds_since(start), 1e-9) / repetitions;
}

/// How far a product is from the CPU's, as a part of its norm.
double error_of_product(const c10::Device& device) {
  const at::Tensor a = at::rand({512, 512}), b = at::rand({512, 512}).sub(0.5);
  const at::Tensor expected = at::mm(a, b);
  const at::Tensor found = at::mm(a.to(device), b.to(device)).cpu();
  return found.sub(expected).norm().item<double>() / expected.norm().item<double>();
}

/// Of square products that grow until one takes 20 ms.
double teraflops(const c10::Device& device, at::ScalarType type) {
  double best = 0;
  for (int64_t n = 512; n <= 8192; n *= 2) {
    const at::Tensor a = at::full({n, n}, 0.5, at::TensorOptions(device).dtype(type));
    const double seconds = seconds_of(device, 3, [&] { static_cast<void>(at::mm(a, a)); });
    const double cubed = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    best = std::max(best, 2.0 * cubed / seconds * 1e-12);
    if (seconds > 0.02) break;
  }
  return best;
}

nlohmann::ordered_json copies(const c10::Device& device, int64_t memory_bytes) {
  const int64_t bytes = std::clamp<int64_t>(memory_bytes / 8, 1 << 20, 256 << 20);
  const at::Tensor here = at::ones({bytes}, at::TensorOptions(device).dtype(at::kByte)), there = at::empty_like(here);
  const at::Tensor host = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(true));
  const double size = static_cast<double>(bytes) * 1e-9;
  return {{"bytes", bytes},
          {"on_device_gb_per_s", 2 * size / seconds_of(device, 5, [&] { there.copy_(here, /*non_blocking=*/true); })},
          {"to_host_gb_per_s", size / seconds_of(device, 5, [&] { host.copy_(here, /*non_blocking=*/true); })},
          {"to_device_gb_per_s", size / seconds_of(device, 5, [&] { there.copy_(host, /*non_blocking=*/true); })}};
}

nlohmann::ordered_json sensors(const device::Reading& reading) {
  nlohmann::ordered_json json = {{"utilisation", nullptr}, {"watts", nullptr}, {"celsius", nullptr}, {"throttled", reading.throttled}};
  if (reading.utilisation) json["utilisation"] = *reading.utilisation;
  if (reading.power_watts) json["watts"] = *reading.power_watts;
  if (reading.celsius) json["celsius"] = *reading.celsius;
  return json;
}

nlohmann::ordered_json describe(device::Backend& backend) {
  nlohmann::ordered_json versions = nlohmann::ordered_json::object(), devices = nlohmann::ordered_json::array(),
                         reaches = nlohmann::ordered_json::array();
  for (const auto& [library, version] : backend.versions()) versions[library] = version;
  const int count = static_cast<int>(backend.devices().size());
  for (int index = 0; index < count; ++index) {
    const device::Accelerator& one = backend.devices()[static_cast<size_t>(index)];
    devices.push_back({{"name", one.name},
                       {"uuid", one.uuid},
                       {"capability", one.capability},
                       {"memory_bytes", one.memory_bytes},
                       {"multiprocessors", one.multiprocessors},
                       {"bf16", one.has_bf16},
                       {"near_cores", device::format_cores(one.near_cores)},
                       {"sensors", sensors(backend.read(index))}});
    nlohmann::ordered_json row = nlohmann::ordered_json::array();
    for (int other = 0; other < count; ++other) row.push_back(backend.reaches(index, other));
    reaches.push_back(row);
  }
  return {{"versions", versions}, {"devices", devices}, {"peer_access", reaches}};
}

}  // namespace

FoundBackend find_backend(const std::string& name) {
  FoundBackend found;
  if (name.empty()) {
    found.problem = "no back end was asked for";
    return found;
  }
  found.report = {{"name", name}, {"installed", device::is_installed(name)}, {"loaded", false}};
  try {
    found.backend = &device::load_backend(name);
    found.report["loaded"] = true;
    found.report.update(describe(*found.backend));
    if (found.backend->devices().empty()) {
      found.problem = "the '" + name + "' back end finds no device";
      found.hint = "look at the driver with nvidia-smi and at CUDA_VISIBLE_DEVICES";
    }
  } catch (const Error& error) {
    found.problem = error.message();
    found.hint = error.hint();
    found.report["error"] = error.message();
    found.report["hint"] = error.hint();
  }
  return found;
}

std::string toolkit_release() {
  FILE* pipe = popen("{ nvcc --version || \"${CUDA_HOME:-/usr/local/cuda}/bin/nvcc\" --version; } 2> /dev/null", "r");
  if (pipe == nullptr) return {};
  std::string text;
  std::array<char, 256> part{};
  while (fgets(part.data(), static_cast<int>(part.size()), pipe) != nullptr) text += part.data();
  pclose(pipe);
  const size_t at = text.find("release ");
  if (at == std::string::npos) return {};
  return text.substr(at + 8, text.find_first_of(",\n", at) - at - 8);
}

nlohmann::ordered_json check_device(device::Backend& backend, const c10::Device& device) {
  const device::Accelerator& accelerator = backend.devices()[static_cast<size_t>(device.index())];
  constexpr double allowed = 2e-3;  // products of 10-bit mantissas
  const double error = error_of_product(device);
  const at::ScalarType narrow = accelerator.has_bf16 ? at::kBFloat16 : at::kHalf;
  return {{"device", device.str()},
          {"product_error", error},
          {"right", error < allowed},
          {"teraflops", {{accelerator.has_bf16 ? "bf16" : "fp16", teraflops(device, narrow)}, {"fp32", teraflops(device, at::kFloat)}}},
          {"copies", copies(device, accelerator.memory_bytes)}};
}

nlohmann::ordered_json check_all_reduce(comm::Communicator& ranks, const c10::Device& device) {
  constexpr int64_t elements = 1 << 20;
  const at::TensorOptions options = at::TensorOptions(device).dtype(at::kFloat);
  ranks.all_reduce(at::ones({elements}, options))->wait();  // connections are made with the first one
  const at::Tensor values = at::full({elements}, static_cast<double>(ranks.rank() + 1), options);
  device::Mark::now(device).wait_on_host();
  const device::Mark start = device::Mark::now(device, /*timed=*/true);
  const comm::WorkPtr work = ranks.all_reduce(values);
  work->wait();
  const device::Mark end = device::Mark::now(device, /*timed=*/true);
  end.wait_on_host();
  const double expected = 0.5 * ranks.size() * (ranks.size() + 1);
  const bool right = values.eq(expected).all().item<bool>();
  return {{"bytes", elements * 4}, {"milliseconds", end.seconds_since(start) * 1e3}, {"right", right}};
}

}  // namespace trireme::app
