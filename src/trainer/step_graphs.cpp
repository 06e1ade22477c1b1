#include "trainer/step_graphs.h"

#include <fmt/format.h>

#include <trireme/core/error.h>
#include <trireme/core/log.h>

#include <ATen/ATen.h>

namespace trireme::trainer {
namespace {

/// Eager steps of a shape before it is recorded. LibTorch asks for three: handles, workspaces and lazily made state.
constexpr int64_t eager_steps = 3;
/// Each graph holds the memory of a whole step.
constexpr size_t most_graphs = 4;

/// f(mine, theirs) for each tensor of two sets of batches of one shape.
template <class F>
void for_each_pair(const std::vector<core::Batch>& mine, const std::vector<core::Batch>& theirs, const F& f) {
  for (size_t b = 0; b < mine.size(); ++b) {
    for (size_t i = 0; i < mine[b].fields.size(); ++i) f(mine[b].fields[i].values, theirs[b].fields[i].values);
    if (mine[b].keys.defined()) f(mine[b].keys, theirs[b].keys);
  }
}

std::vector<core::Batch> copies_of(const std::vector<core::Batch>& batches) {
  std::vector<core::Batch> copies = batches;
  for (core::Batch& batch : copies) {
    for (core::Batch::Field& field : batch.fields) field.values = field.values.clone();
    if (batch.keys.defined()) batch.keys = batch.keys.clone();
  }
  return copies;
}

}  // namespace

std::string StepGraphs::shape_of(const std::vector<core::Batch>& batches, int64_t samples) {
  std::string shape = fmt::format("{} in all;", samples);
  for (const core::Batch& batch : batches) {
    shape += fmt::format("{};", batch.size());
    for (const core::Batch::Field& field : batch.fields)
      shape += fmt::format("{}:{}[{}];", field.name, c10::toString(field.values.scalar_type()), fmt::join(field.values.sizes().vec(), ","));
  }
  return shape;
}

bool StepGraphs::repeats(const std::vector<core::Batch>& batches, int64_t samples) const {
  const auto shape = shapes_.find(shape_of(batches, samples));
  return shape != shapes_.end() && repeats(shape->second);
}

bool StepGraphs::repeats(const Shape& shape) const {
  return !held_ && (shape.recorded || (!given_up_ && shape.seen >= eager_steps && shapes_.size() <= most_graphs));
}

std::optional<Error> StepGraphs::record(Shape& shape, const std::vector<core::Batch>& batches, const Body& body,
                                        const std::function<bool()>& abandon) {
  Recorded recorded;
  recorded.inputs = copies_of(batches);
  recorded.graph = backend_.make_graph(device_);
  try {
    recorded.graph->record([&] { recorded.result = body(recorded.inputs); });
  } catch (const Error& error) {
    if (mode_ == Mode::required || error.kind() != ErrorKind::environment || !abandon()) throw;
    return error;
  }
  shape.recorded = std::move(recorded);
  return {};
}

StepResult StepGraphs::run(const std::vector<core::Batch>& batches, int64_t samples, const Body& body,
                           const std::function<bool()>& abandon) {
  const std::string key = shape_of(batches, samples);
  const auto known = shapes_.find(key);
  if (known == shapes_.end() || !repeats(known->second)) {
    if (!given_up_) ++shapes_[key].seen;
    return body(batches);
  }
  Shape& shape = known->second;
  if (!shape.recorded) {
    const std::optional<Error> failure = record(shape, batches, body, abandon);
    // Collectives of a graph and eager ones do not meet: all ranks repeat, or none.
    if (!everywhere_(!failure)) {
      shape.recorded.reset();
      given_up_ = true;
      log::warning("steps are not repeated as a graph: {}", failure ? failure->message() : "another rank could not record one");
      return body(batches);
    }
    log::info("steps of this shape are repeated as a graph from now on");
  }
  for_each_pair(shape.recorded->inputs, batches, [](const at::Tensor& to, const at::Tensor& from) { to.copy_(from); });
  shape.recorded->graph->replay();
  return shape.recorded->result;
}

}  // namespace trireme::trainer
