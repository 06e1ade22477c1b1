#include "cuda/ops/block_sum.h"
#include "cuda/ops/update.h"
#include "ops/stochastic_rounding.h"

namespace trireme::cuda {

namespace {

constexpr unsigned block_threads = 256;
constexpr int blocks_per_multiprocessor = 4;

template <int width, class T>
struct alignas(width * sizeof(T)) Group {
  T values[width];
};

/// Rounds elements of a chunk to bfloat16, numbered as in ops/stochastic_rounding.h.
class Rounding {
 public:
  __device__ Rounding(const UpdateTensor& tensor, uint64_t array, int64_t update, int64_t offset)
      : inside_((tensor.begin + offset) % ops::rounding_block) {
    const core::RandomKey key = tensor.rounding_key.fold(array).fold(static_cast<uint64_t>(update));
    const auto block = static_cast<uint64_t>((tensor.begin + offset) / ops::rounding_block);
    seeds_[0] = key.bits(block);
    seeds_[1] = key.bits(block + 1);
  }
  __device__ uint16_t operator()(float value, int32_t i) const {
    const int64_t number = inside_ + i;
    const uint64_t seed = number < ops::rounding_block ? seeds_[0] : seeds_[1];
    const uint32_t bits =
        ops::rounding_bits(static_cast<uint32_t>(number % ops::rounding_block),
                           static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    return ops::round_stochastically(value, bits);
  }

 private:
  int64_t inside_;
  uint64_t seeds_[2];
};

/// A chunk of one array of `T`, float or bfloat16, the latter rounded stochastically; null: the
/// rule has none.
template <class T>
class Array {
 public:
  __device__ Array(void* data, const UpdateTensor& tensor, uint64_t array, int64_t update,
                   int64_t offset)
      : data_(static_cast<T*>(data) + (data == nullptr ? 0 : offset)),
        rounding_(tensor, array, update, offset) {}

  template <int width>
  __device__ void load(int32_t i, float (&into)[width]) const {
    const Group<width, T> group = *reinterpret_cast<const Group<width, T>*>(data_ + i);
#pragma unroll
    for (int k = 0; k < width; ++k) into[k] = static_cast<float>(group.values[k]);
  }
  template <int width>
  __device__ void store(int32_t i, const float (&values)[width]) const {
    Group<width, T> group;
#pragma unroll
    for (int k = 0; k < width; ++k) {
      if constexpr (sizeof(T) == 4)
        group.values[k] = values[k];
      else
        group.values[k] = T(rounding_(values[k], i + k), T::from_bits());
    }
    *reinterpret_cast<Group<width, T>*>(data_ + i) = group;
  }

 private:
  T* data_;
  Rounding rounding_;
};

/// The arrays of a chunk. `Values` and `Slots`: what these are stored as.
template <class Values, class Slots>
struct Arrays {
  Array<float> gradient;
  Array<Values> values;
  Array<Slots> first, second;
  void* copy;
  Element copy_type;

  __device__ Arrays(const UpdateTensor& tensor, int64_t offset, int64_t update)
      : gradient(tensor.gradient, tensor, 0, update, offset),
        values(tensor.values, tensor, 0, update, offset),
        first(tensor.first, tensor, 1, update, offset),
        second(tensor.second, tensor, 2, update, offset),
        copy(tensor.copy == nullptr
                 ? nullptr
                 : static_cast<void*>(static_cast<uint16_t*>(tensor.copy) + offset)),
        copy_type(tensor.copy_type) {}

  /// Rounded to nearest.
  template <int width>
  __device__ void store_copy(int32_t i, const float (&from)[width]) const {
    if (copy == nullptr) return;
    if (copy_type == Element::bfloat16)
      store_as<width, c10::BFloat16>(i, from);
    else
      store_as<width, c10::Half>(i, from);
  }
  template <int width>
  __device__ void clear_gradient(int32_t i) const {
    const float zeros[width] = {};
    gradient.store(i, zeros);
  }

 private:
  template <int width, class T>
  __device__ void store_as(int32_t i, const float (&from)[width]) const {
    Group<width, T> group;
#pragma unroll
    for (int k = 0; k < width; ++k) group.values[k] = T(from[k]);
    *reinterpret_cast<Group<width, T>*>(static_cast<T*>(copy) + i) = group;
  }
};

/// Calls work.operator()<width>(arrays, i) for all elements of a chunk, by the block's threads:
/// four at a time where they can be accessed so.
template <class Values, class Slots, class Work>
__device__ void for_each_group(const UpdateTensor& tensor, const UpdateChunk& chunk, int64_t update,
                               Work& work) {
  const Arrays<Values, Slots> arrays(tensor, chunk.offset, update);
  const int32_t packed = tensor.packed ? chunk.elements / 4 * 4 : 0;
  const auto thread = static_cast<int32_t>(threadIdx.x);
  for (int32_t i = thread * 4; i < packed; i += static_cast<int32_t>(block_threads) * 4)
    work.template operator()<4>(arrays, i);
  for (int32_t i = packed + thread; i < chunk.elements; i += static_cast<int32_t>(block_threads))
    work.template operator()<1>(arrays, i);
}

template <class Work>
__device__ void for_each_group(const UpdateTensor& tensor, const UpdateChunk& chunk, int64_t update,
                               Work& work) {
  if (tensor.narrow_values) {
    if (tensor.narrow_slots)
      for_each_group<c10::BFloat16, c10::BFloat16>(tensor, chunk, update, work);
    else
      for_each_group<c10::BFloat16, float>(tensor, chunk, update, work);
  } else if (tensor.narrow_slots) {
    for_each_group<float, c10::BFloat16>(tensor, chunk, update, work);
  } else {
    for_each_group<float, float>(tensor, chunk, update, work);
  }
}

struct Clear {
  template <int width, class Arrays>
  __device__ void operator()(const Arrays& arrays, int32_t i) const {
    arrays.template clear_gradient<width>(i);
  }
};

template <class Rule>
struct Update {
  Rule rule;
  float gradient_scale;

  template <int width, class Arrays>
  __device__ void operator()(const Arrays& arrays, int32_t i) const {
    float p[width], g[width], a[width] = {}, b[width] = {};
    arrays.gradient.load(i, g);
    arrays.values.load(i, p);
    if constexpr (Rule::slots > 0) arrays.first.load(i, a);
    if constexpr (Rule::slots > 1) arrays.second.load(i, b);
#pragma unroll
    for (int k = 0; k < width; ++k) rule(p[k], g[k] * gradient_scale, a[k], b[k]);
    arrays.values.store(i, p);
    if constexpr (Rule::slots > 0) arrays.first.store(i, a);
    if constexpr (Rule::slots > 1) arrays.second.store(i, b);
    arrays.store_copy(i, p);
    arrays.template clear_gradient<width>(i);
  }
};

struct LambMoments {
  ops::Lamb rule;
  float gradient_scale;
  double value_sum = 0.0, direction_sum = 0.0;

  template <int width, class Arrays>
  __device__ void operator()(const Arrays& arrays, int32_t i) {
    float p[width], g[width], m[width], v[width];
    arrays.gradient.load(i, g);
    arrays.values.load(i, p);
    arrays.first.load(i, m);
    arrays.second.load(i, v);
#pragma unroll
    for (int k = 0; k < width; ++k) {
      rule.moments(g[k] * gradient_scale, m[k], v[k]);
      const double value = p[k], direction = rule.direction(p[k], m[k], v[k]);
      value_sum += value * value;
      direction_sum += direction * direction;
    }
    arrays.first.store(i, m);
    arrays.second.store(i, v);
  }
};

struct LambStep {
  ops::Lamb rule;
  float step_size;

  template <int width, class Arrays>
  __device__ void operator()(const Arrays& arrays, int32_t i) const {
    float p[width], m[width], v[width];
    arrays.values.load(i, p);
    arrays.first.load(i, m);
    arrays.second.load(i, v);
#pragma unroll
    for (int k = 0; k < width; ++k) p[k] -= step_size * rule.direction(p[k], m[k], v[k]);
    arrays.values.store(i, p);
    arrays.store_copy(i, p);
    arrays.template clear_gradient<width>(i);
  }
};

/// The constants of each of the settings, by one block; counts the update.
template <class Rule>
__global__ void prepare_rules(ops::UpdateRule rule, UpdateTable table, UpdateScalars scalars) {
  const int64_t update = *scalars.steps + 1;
  __syncthreads();  // all have read the steps
  for (int64_t s = threadIdx.x; s < table.settings_count; s += block_threads) {
    const UpdateSettings settings = table.settings[s];
    static_cast<Rule*>(table.rules)[s] = Rule::of(
        rule, *scalars.lr * settings.lr_scale, settings.weight_decay, static_cast<double>(update));
  }
  if (threadIdx.x == 0 && *scalars.nonfinite == 0.0F) *scalars.steps = update;
}

template <class Rule>
__global__ void __launch_bounds__(block_threads, blocks_per_multiprocessor)
    update_kernel(UpdateTable table, UpdateScalars scalars) {
  const bool skip = *scalars.nonfinite != 0.0F;
  const float gradient_scale = *scalars.gradient_scale;
  const int64_t update = *scalars.steps;  // this one's number: it is counted already
  for (int64_t c = blockIdx.x; c < table.chunk_count; c += gridDim.x) {
    const UpdateChunk chunk = table.chunks[c];
    const UpdateTensor& tensor = table.tensors[chunk.tensor];
    if (skip) {
      Clear clear;
      for_each_group(tensor, chunk, update, clear);
    } else {
      Update<Rule> work{static_cast<const Rule*>(table.rules)[tensor.settings], gradient_scale};
      for_each_group(tensor, chunk, update, work);
    }
  }
}

/// {x, y} over the block, for thread 0; all threads call.
__device__ void sum_over_block(double& x, double& y) {
  x = block_sum<block_threads>(x);
  __syncthreads();
  y = block_sum<block_threads>(y);
  __syncthreads();  // before the next call
}

__global__ void __launch_bounds__(block_threads, blocks_per_multiprocessor)
    lamb_moments_kernel(UpdateTable table, UpdateScalars scalars, double* parts) {
  const bool skip = *scalars.nonfinite != 0.0F;
  const float gradient_scale = *scalars.gradient_scale;
  const int64_t update = *scalars.steps;
  for (int64_t c = blockIdx.x; c < table.chunk_count; c += gridDim.x) {
    const UpdateChunk chunk = table.chunks[c];
    const UpdateTensor& tensor = table.tensors[chunk.tensor];
    LambMoments work{static_cast<const ops::Lamb*>(table.rules)[tensor.settings], gradient_scale};
    if (!skip) for_each_group(tensor, chunk, update, work);
    sum_over_block(work.value_sum, work.direction_sum);
    if (threadIdx.x == 0) {
      parts[2 * c] = work.value_sum;
      parts[2 * c + 1] = work.direction_sum;
    }
  }
}

__global__ void __launch_bounds__(block_threads, blocks_per_multiprocessor)
    lamb_sums_kernel(UpdateTable table, const double* parts, double* sums) {
  for (int64_t t = blockIdx.x; t < table.tensor_count; t += gridDim.x) {
    const UpdateTensor& tensor = table.tensors[t];
    double value_sum = 0.0, direction_sum = 0.0;
    for (int64_t c = threadIdx.x; c < tensor.chunks; c += block_threads) {
      value_sum += parts[2 * (tensor.first_chunk + c)];
      direction_sum += parts[2 * (tensor.first_chunk + c) + 1];
    }
    sum_over_block(value_sum, direction_sum);
    if (threadIdx.x == 0) {
      sums[2 * t] = value_sum;
      sums[2 * t + 1] = direction_sum;
    }
  }
}

__global__ void __launch_bounds__(block_threads, blocks_per_multiprocessor)
    lamb_step_kernel(UpdateTable table, UpdateScalars scalars, const double* sums) {
  const bool skip = *scalars.nonfinite != 0.0F;
  const int64_t update = *scalars.steps;
  for (int64_t c = blockIdx.x; c < table.chunk_count; c += gridDim.x) {
    const UpdateChunk chunk = table.chunks[c];
    const UpdateTensor& tensor = table.tensors[chunk.tensor];
    if (skip) {
      Clear clear;
      for_each_group(tensor, chunk, update, clear);
    } else {
      const double lr = *scalars.lr * table.settings[tensor.settings].lr_scale;
      LambStep work{static_cast<const ops::Lamb*>(table.rules)[tensor.settings],
                    ops::Lamb::step_size(lr, sums[2 * chunk.tensor], sums[2 * chunk.tensor + 1])};
      for_each_group(tensor, chunk, update, work);
    }
  }
}

Grid blocks_for(int64_t pieces) {
  const auto most = static_cast<int64_t>(multiprocessors()) * blocks_per_multiprocessor;
  return {static_cast<unsigned>(pieces < most ? pieces : most)};
}

template <class Rule>
void prepare(const ops::UpdateRule& rule, const UpdateTable& table, const UpdateScalars& scalars,
             Stream stream) {
  static_assert(sizeof(Rule) <= rule_bytes);
  launch(prepare_rules<Rule>, {1}, block_threads, stream, rule, table, scalars);
}

}  // namespace

void update_tensors(const ops::UpdateRule& rule, const UpdateTable& table,
                    const UpdateScalars& scalars, Stream stream) {
  ops::with_single_pass_rule(rule.kind, [&]<class Rule>() {
    prepare<Rule>(rule, table, scalars, stream);
    launch(update_kernel<Rule>, blocks_for(table.chunk_count), block_threads, stream, table,
           scalars);
  });
}

void advance_lamb(const ops::UpdateRule& rule, const UpdateTable& table,
                  const UpdateScalars& scalars, double* parts, double* sums, Stream stream) {
  prepare<ops::Lamb>(rule, table, scalars, stream);
  launch(lamb_moments_kernel, blocks_for(table.chunk_count), block_threads, stream, table, scalars,
         parts);
  launch(lamb_sums_kernel, blocks_for(table.tensor_count), block_threads, stream, table, parts,
         sums);
}

void apply_lamb(const UpdateTable& table, const UpdateScalars& scalars, const double* sums,
                Stream stream) {
  launch(lamb_step_kernel, blocks_for(table.chunk_count), block_threads, stream, table, scalars,
         sums);
}

}  // namespace trireme::cuda
