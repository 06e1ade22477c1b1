#include "optim/fused_optimizer.h"

#include <trireme/core/error.h>

#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace trireme::optim {

namespace {

// The elements of a 0-dim tensor of the CPU, without a call into LibTorch.
float value_or(const at::Tensor& scalar, float otherwise) {
  if (!scalar.defined()) return otherwise;
  check(scalar.numel() == 1 && scalar.scalar_type() == at::kFloat && scalar.is_cpu(),
        "step inputs are float32 scalars on the device of the parameters");
  return *scalar.const_data_ptr<float>();
}

}  // namespace

FusedOptimizer::FusedOptimizer(const OptimConfig& config, const core::ParameterSet& parameters,
                               AddOverShards add_over_shards)
    : EntryOptimizer(config, parameters), add_over_shards_(std::move(add_over_shards)) {
  std::vector<int64_t> sizes;
  for (const Entry& entry : entries()) sizes.push_back(entry.parameter.tensor.numel());
  chunks_ = plan_chunks(sizes);
}

template <class Work>
void FusedOptimizer::for_each_chunk(const Work& work) const {
  at::parallel_for(0, static_cast<int64_t>(chunks_.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
      work(static_cast<size_t>(c), chunks_[static_cast<size_t>(c)]);
  });
}

template <class Rule>
std::vector<Rule> FusedOptimizer::rules(double lr) const {
  const auto t = static_cast<double>(*steps().const_data_ptr<int64_t>());
  std::vector<Rule> made;
  for (const ParameterSettings& s : settings())
    made.push_back(Rule::of(rule(), lr * s.lr_scale, s.weight_decay, t));
  return made;
}

template <class Rule>
void FusedOptimizer::update_all(std::span<const EntryMemory> memory, float gradient_scale,
                                double lr) {
  const std::vector<Rule> all = rules<Rule>(lr);
  for_each_chunk([&](size_t, const Chunk& chunk) {
    const Rule& one = all[entries()[chunk.entry].settings];
    in_float32(memory[chunk.entry], chunk,
               [&](const Slice& slice) { update(one, gradient_scale, slice); });
  });
}

void FusedOptimizer::update_lamb(std::span<const EntryMemory> memory, float gradient_scale,
                                 double lr) {
  const std::vector<ops::Lamb> all = rules<ops::Lamb>(lr);
  std::vector<SquareSums> parts(chunks_.size());
  for_each_chunk([&](size_t c, const Chunk& chunk) {
    const ops::Lamb& one = all[entries()[chunk.entry].settings];
    in_float32(memory[chunk.entry], chunk, [&](const Slice& slice) {
      parts[c] += advance_moments(one, gradient_scale, slice);
    });
  });
  std::vector<SquareSums> whole(entries().size());
  for (size_t c = 0; c < chunks_.size(); ++c) whole[chunks_[c].entry] += parts[c];
  if (add_over_shards_) {
    static_assert(sizeof(SquareSums) == 2 * sizeof(double));
    add_over_shards_(
        at::from_blob(whole.data(), {2 * static_cast<int64_t>(whole.size())}, at::kDouble));
  }
  for_each_chunk([&](size_t, const Chunk& chunk) {
    const SquareSums& sums = whole[chunk.entry];
    const size_t index = entries()[chunk.entry].settings;
    const float step_size =
        ops::Lamb::step_size(lr * settings()[index].lr_scale, sums.values, sums.directions);
    in_float32(memory[chunk.entry], chunk,
               [&](const Slice& slice) { apply_direction(all[index], step_size, slice); });
  });
}

void FusedOptimizer::step(const StepInputs& inputs) {
  const int64_t next = *steps().const_data_ptr<int64_t>() + 1;
  std::vector<EntryMemory> memory;
  memory.reserve(entries().size());
  for (const Entry& entry : entries()) memory.push_back(memory_of(entry, next));
  if (value_or(inputs.nonfinite, 0.0F) != 0.0F) {
    for_each_chunk([&](size_t, const Chunk& chunk) {
      clear_gradient(part_of(memory[chunk.entry].floats, chunk));
    });
    return;
  }
  *steps().mutable_data_ptr<int64_t>() = next;
  const float gradient_scale = value_or(inputs.gradient_scale, 1.0F);
  if (rule().kind == ops::UpdateRule::Kind::lamb) {
    update_lamb(memory, gradient_scale, inputs.lr);
  } else {
    ops::with_single_pass_rule(
        rule().kind, [&]<class Rule>() { update_all<Rule>(memory, gradient_scale, inputs.lr); });
  }
  mark_changed();
}

}  // namespace trireme::optim
