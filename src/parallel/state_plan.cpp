#include <trireme/parallel/state_plan.h>

#include <algorithm>

namespace trireme::parallel {

StateBytes plan_state(std::span<const UnitElements> units, const ElementBytes& bytes,
                      const ParallelConfig& config, int shard_ranks) {
  constexpr int64_t accumulator = 4;  // gradients are kept in float32
  UnitElements all;
  // Two units at a time: one computes while the next is gathered, or the one before is reduced.
  int64_t parameters_of_two = 0, gradients_of_two = 0;
  for (size_t i = 0; i < units.size(); ++i) {
    all.trained += units[i].trained;
    all.frozen += units[i].frozen;
    const UnitElements next = i + 1 < units.size() ? units[i + 1] : UnitElements{};
    const int64_t trained = units[i].trained + next.trained;
    parameters_of_two =
        std::max(parameters_of_two, (trained + units[i].frozen + next.frozen) * bytes.parameter);
    gradients_of_two = std::max(gradients_of_two, trained * bytes.travelling);
  }
  const auto cut = [&](int64_t whole, bool is_cut) {
    return is_cut ? (whole + shard_ranks - 1) / shard_ranks : whole;
  };
  const bool sharded = config.strategy != "ddp";
  const bool cut_parameters = config.strategy == "fsdp";
  const bool cut_gradients =
      sharded && config.strategy != "zero1" && config.reduce_every_micro_step;
  StateBytes state;
  state.parameters = cut((all.trained + all.frozen) * bytes.parameter, cut_parameters);
  state.gradients = cut(all.trained * accumulator, cut_gradients);
  state.optimizer = cut(all.trained * bytes.optimizer, sharded);
  if (shard_ranks > 1) {
    if (cut_parameters) state.passing += parameters_of_two;
    if (cut_gradients) state.passing += gradients_of_two;
    // Whole gradients travel as they are, or as a copy of another type.
    if (sharded && !cut_gradients && bytes.travelling != accumulator)
      state.passing += gradients_of_two;
  }
  return state;
}

}  // namespace trireme::parallel
