#pragma once

#include <string>

#include <trireme/comm/world.h>
#include <trireme/device/backend.h>

#include <nlohmann/json.hpp>

namespace trireme::app {

/// What `doctor` says of a back end, and how far it got with it.
struct FoundBackend {
  nlohmann::ordered_json report;
  device::Backend* backend = nullptr;  ///< null: none was asked for, or it cannot be loaded
  std::string problem;                 ///< why there is no device to compute on; empty if there is
  std::string hint;
};

/// Loads it: before the world is joined. An empty name: none.
[[nodiscard]] FoundBackend find_backend(const std::string& name);

/// The release of the CUDA toolkit whose compiler is on the PATH or at its usual place; empty without one. Starts it: before MPI.
[[nodiscard]] std::string toolkit_release();

/// Computes and copies on the local rank's device: right results, and how fast. Throws what goes wrong.
[[nodiscard]] nlohmann::ordered_json check_device(device::Backend& backend, const c10::Device& device);

/// All-reduces a known vector; the sum proves that every rank took part. All ranks of the communicator call.
[[nodiscard]] nlohmann::ordered_json check_all_reduce(comm::Communicator& ranks, const c10::Device& device);

}  // namespace trireme::app
