#pragma once

#include <trireme/core/random.h>

#include "cuda/ops/element.h"
#include "cuda/stream_type.h"
#include "ops/update_rules.h"

#include <cstddef>
#include <cstdint>

namespace trireme::cuda {

/// One tensor of an optimizer, as the kernels see it: addresses on the device.
struct UpdateTensor {
  float* gradient = nullptr;
  void* values = nullptr;  ///< float32 (a parameter or its master), or a bfloat16 parameter
  void* copy = nullptr;    ///< the parameter that follows the master; null: none
  void* first = nullptr;   ///< slots, null where the rule has fewer
  void* second = nullptr;
  core::RandomKey rounding_key;
  int64_t begin = 0;  ///< number of the first element for stochastic rounding
  int64_t first_chunk = 0, chunks = 0;
  int32_t settings = 0;
  bool narrow_values = false, narrow_slots = false;  ///< stored as bfloat16
  bool packed = false;  ///< all arrays start at multiples of four of their elements
  Element copy_type = Element::bfloat16;
};

/// At most update_chunk elements of one tensor: what a block updates at a time.
struct UpdateChunk {
  int64_t offset = 0;
  int32_t tensor = 0;
  int32_t elements = 0;
};
/// Small enough that the last round of blocks is a small part of all; fewer than rounding blocks
/// have, so that a chunk lies in two of those at most.
inline constexpr int64_t update_chunk = 4096;

struct UpdateSettings {
  double lr_scale = 1.0;
  double weight_decay = 0.0;
};

/// Arrays on the device.
struct UpdateTable {
  const UpdateTensor* tensors = nullptr;
  const UpdateChunk* chunks = nullptr;
  const UpdateSettings* settings = nullptr;
  void* rules = nullptr;  ///< scratch: rule_bytes for each of the settings
  int64_t tensor_count = 0, chunk_count = 0, settings_count = 0;
};
inline constexpr size_t rule_bytes = 32;

/// Scalars on the device, as in ops::MultiTensorUpdate::Inputs.
struct UpdateScalars {
  const double* lr = nullptr;
  const float* gradient_scale = nullptr;
  const float* nonfinite = nullptr;
  int64_t* steps = nullptr;
};

/// Two launches: the constants of each of the settings, then all tensors. Every rule but lamb.
void update_tensors(const ops::UpdateRule& rule, const UpdateTable& table,
                    const UpdateScalars& scalars, Stream stream);

/// Lamb's first pass: moments, and {sum of squared values, of squared directions} of each tensor in
/// `sums`; `parts`: scratch, two doubles a chunk.
void advance_lamb(const ops::UpdateRule& rule, const UpdateTable& table,
                  const UpdateScalars& scalars, double* parts, double* sums, Stream stream);
/// The second one.
void apply_lamb(const UpdateTable& table, const UpdateScalars& scalars, const double* sums,
                Stream stream);

}  // namespace trireme::cuda
