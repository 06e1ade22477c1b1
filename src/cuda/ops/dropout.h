#pragma once

#include "cuda/ops/element.h"
#include "cuda/stream_type.h"

namespace trireme::cuda {

/// y = x / (1 - p) or 0, by ops::DropoutHash of each sample's seed; x is dense [samples, n]. The bits are those of the CPU.
void dropout(Element type, const void* x, void* y, int64_t samples, int64_t n, const int64_t* seeds, double p, Stream stream);

/// core::RandomKey(key).fold(part) of each key.
void fold_keys(const int64_t* keys, int64_t* folded, int64_t n, uint64_t part, Stream stream);

}  // namespace trireme::cuda
