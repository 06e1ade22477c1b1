#pragma once

#include <trireme/autograd/unit.h>
#include <trireme/core/batch.h>
#include <trireme/core/parameters.h>
#include <trireme/debug/switches.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <nlohmann/json_fwd.hpp>

namespace trireme::debug {

/// What tools look at. Outlives them.
struct Subject {
  int rank = 0;
  int ranks = 1;
  at::Device device = at::Device(at::kCPU);
  std::vector<autograd::Unit*> units;  ///< in the order of their first use
  core::ParameterSet parameters;       ///< what this rank steps: whole, or fragments of them
  core::ParameterSet buffers;
  std::vector<std::pair<std::string, std::string>> facts;  ///< fixed for the run, e.g. {"schedule", "cosine"}
};

/// Where a tool's findings go. Both may be called from the threads of forward and backward.
class Journal {
 public:
  virtual ~Journal();
  /// One structured record: an object to which schema, time, rank, step and switch are added. A
  /// unit or parameter goes under "unit" or "parameter".
  virtual void record(nlohmann::json fields) = 0;
  /// What a person should see: recorded here at once (the same text at most once in 100 steps), and
  /// told on rank 0's console with the next digest, with rank and host.
  virtual void finding(const std::string& text) = 0;
};

/// A step that begins. Tools that read whole tensors do so in `looks` steps only (debug.every_steps).
struct StepSeen {
  int64_t step = 0;  ///< counted from 1: the step that is being made
  bool looks = true;
};
struct BatchSeen {
  const std::vector<core::Batch>* micro_batches = nullptr;  ///< on the device
  int64_t epoch = 0;
  int64_t position = 0;    ///< global samples before this batch
  int64_t global_count = 0;
  double wait_seconds = 0;  ///< that this step waited for it
  double load_seconds = 0;  ///< of all loading threads since the last batch
  int64_t ready = 0;        ///< batches that lay ready
};
struct LossSeen {
  size_t micro_step = 0;
  const at::Tensor* loss_sum = nullptr;  ///< 0-dim, with its graph: before backward
  const at::Tensor* weight = nullptr;
};
/// The gradients of Subject::parameters (`.grad()`) are reduced; nothing has used them yet.
struct GradientsSeen {
  const at::Tensor* gradient_scale = nullptr;  ///< 0-dim: what they are multiplied by, clipping included
  const at::Tensor* mean_scale = nullptr;  ///< 0-dim: what makes them those of the mean loss, before clipping
  const at::Tensor* nonfinite = nullptr;       ///< 0-dim flag: the update will be left out
};
/// The parameters have been stepped and the gradients are cleared.
struct UpdateSeen {
  double lr = 0;
};
/// Numbers of a step that lies some steps back, equal on all ranks.
struct Decided {
  int64_t step = 0;
  double loss = 0;
  double grad_norm = 0;
  double lr = 0;
  double loss_scale = 1;
  bool left_out = false;
  int64_t skipped = 0;  ///< steps left out since the start
  int first_nonfinite_rank = -1;
  std::vector<std::pair<std::string, double>> metrics;  ///< the model's, by name
};
struct EvaluationSeen {
  int64_t step = 0;
  double loss = 0;
  int64_t samples = 0;       ///< over all ranks
  int64_t samples_here = 0;
  int64_t batches_here = 0;
  std::vector<int64_t> ids_here;  ///< of the samples
  int64_t dataset = 0;       ///< samples that there are
  double seconds = 0;
};
struct StoppingSeen {
  int64_t step = 0;
  std::string metric;
  double value = 0;
  double best = 0;
  int64_t best_step = 0;
  int64_t waited = 0;  ///< evaluations without improvement
  int64_t patience = -1;  ///< -1: never stops
  bool improved = false;
  bool stop = false;
};

/// What a switch turns on: made when it is switched on, at a step boundary, and destroyed when it is
/// switched off, between steps, which takes away whatever it installed (attendants of units, hooks).
/// So it outlives the backwards of the calls that it attended. Between, the
/// conductor tells it of the moments of a step. It must change nothing of the computation: losses
/// and parameters have the same bits with and without it. What it throws switches it off with a
/// warning, never the run. Tools never communicate.
class Tool {
 public:
  virtual ~Tool();
  virtual void begin_step(const StepSeen&) {}
  virtual void batch(const BatchSeen&) {}
  virtual void loss(const LossSeen&) {}
  virtual void gradients(const GradientsSeen&) {}
  virtual void updated(const UpdateSeen&) {}
  virtual void end_step() {}
  virtual void decided(const Decided&) {}
  virtual void evaluated(const EvaluationSeen&) {}
  virtual void stopping(const StoppingSeen&) {}

  /// Whether it sees what happens inside a step: then a device's step must not be repeated as a graph.
  [[nodiscard]] virtual bool needs_eager_steps() const { return false; }
  /// Whether gradients() or updated() do anything.
  [[nodiscard]] virtual bool reads_gradients() const { return false; }

  /// It has failed in the midst of a step: what it has installed does nothing from now on. It is
  /// told nothing more, and destroyed when the step is over.
  virtual void silence() noexcept {}

  /// What this rank found since the last call: a small object of numbers and short strings for rank
  /// 0, which shows it beside those of the other ranks. May be empty.
  [[nodiscard]] virtual nlohmann::json digest() = 0;
};

/// Not for profilers (is_profiler). The journal outlives the tool.
[[nodiscard]] std::unique_ptr<Tool> make_tool(Switch which, const Subject& subject, Journal& journal);

}  // namespace trireme::debug
