#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/Device.h>

namespace trireme::device {

/// A device as it describes itself; indices are those of the visible devices.
struct Accelerator {
  std::string name;
  std::string uuid;         ///< the same for every process that sees it
  std::string capability;   ///< "9.0"
  int64_t memory_bytes = 0;
  int multiprocessors = 0;
  bool has_bf16 = false;    ///< computes in bfloat16
  bool has_fp8 = false;     ///< has 8-bit matrix units
  std::vector<int> near_cores;  ///< CPUs of its NUMA node; empty where unknown
};

/// What a device's sensors say now; nothing where it has none.
struct Reading {
  std::optional<double> utilisation;  ///< of the last sample period, 0 to 1
  std::optional<double> power_watts;
  std::optional<double> celsius;
  std::vector<std::string> throttled;  ///< why its clocks are held down, in words; empty: they are not
};

/// How a device computes; equal on all ranks.
struct ComputeSettings {
  bool tf32 = true;
  bool cudnn_benchmark = true;
  bool deterministic = false;
  double memory_fraction = 1.0;  ///< of the device's memory that this process may take
};

/// Work of the current stream, recorded once and repeated without the host code that issued it.
class Graph {
 public:
  virtual ~Graph();
  /// Runs `body` once, recording instead of executing. Everything that it computes with must exist
  /// already at fixed addresses; it must not read results. Tensors made by it live as long as the graph.
  /// Throws what cannot be recorded as an Error of kind `environment`; the device is usable afterwards.
  virtual void record(const std::function<void()>& body) = 0;
  /// Enqueues the recorded work on the current stream.
  virtual void replay() = 0;
};

/// Devices of one kind, served by a library that is loaded at run time. Streams, events, copies and the counts of the
/// caching allocator are LibTorch's own, which it serves by device type; here is what it does not.
class Backend {
 public:
  virtual ~Backend();
  [[nodiscard]] virtual c10::DeviceType type() const = 0;
  [[nodiscard]] virtual const std::vector<Accelerator>& devices() const = 0;
  /// Makes the device the calling thread's, with a stream of its own that is not the default one: graphs are recorded on it.
  virtual void use(int index) = 0;
  /// For the process; call before the first computation.
  virtual void apply(const ComputeSettings& settings, int index) = 0;
  [[nodiscard]] virtual std::unique_ptr<Graph> make_graph(int index) = 0;
  [[nodiscard]] virtual Reading read(int index) = 0;
  /// Opens and closes a named range of the calling thread, for the vendor's profiler; ranges nest. Nearly free where none listens.
  virtual void begin_range(const char* name);
  virtual void end_range();
  /// Whether device `from` addresses the memory of device `to` without the host in between.
  [[nodiscard]] virtual bool reaches(int from, int to) const;
  /// What is remembered from here on of each piece of memory that is allocated or freed: nothing, its size and time, or also where
  /// in the program, which is slow. For the process.
  enum class MemoryHistory { off, sizes, stacks };
  virtual void record_memory_history(MemoryHistory what);
  /// Writes what is allocated, and what was remembered, for PyTorch's memory visualiser. False where it cannot be told; throws kind
  /// `storage` if it cannot be written.
  virtual bool save_memory_snapshot(const std::string& path);
  /// Versions of the libraries it uses, for people: {"CUDA runtime", "13.0"}, ...
  [[nodiscard]] virtual std::vector<std::pair<std::string, std::string>> versions() const = 0;
};

/// Loads libtrireme_<name>.so, or returns the one that is loaded. It lies beside the library or program that holds this function,
/// or in the folder that the environment variable TRIREME_BACKEND_DIR names instead. The library registers what
/// else it implements with the folders concerned (ops::register_kernels, comm::register_device_communicators). Must come before
/// the process's first question to LibTorch about devices, its first seeding and its first backward: LibTorch remembers their
/// absence. Error `environment` with what the loader said and the cure.
[[nodiscard]] Backend& load_backend(std::string_view name);
/// The one that load_backend() loaded for this type of device; null for CPUs.
[[nodiscard]] Backend* backend_of(c10::DeviceType type);
/// Whether there is a file for load_backend() to load; says nothing of whether it can be.
[[nodiscard]] bool is_installed(std::string_view name);

/// What a back end's library exports as `extern "C"` under this name: called once. `version` is the caller's TRIREME_VERSION; a
/// library of another version answers null, for both are built together. The result lives as long as the process.
inline constexpr const char* backend_entry = "trireme_open_backend";
using BackendEntry = Backend*(const char* version);

}  // namespace trireme::device
