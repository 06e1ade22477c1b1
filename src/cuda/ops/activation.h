#pragma once

#include "cuda/ops/element.h"
#include "cuda/stream_type.h"

namespace trireme::cuda {

/// GELU in its tanh form, x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3), of n elements; in place too.
void gelu_forward(Element type, const void* x, void* y, int64_t n, Stream stream);
void gelu_backward(Element type, const void* x, const void* dy, void* dx, int64_t n, Stream stream);

/// y = gate * up / (1 + exp(-gate)).
void swiglu_forward(Element type, const void* gate, const void* up, void* y, int64_t n, Stream stream);
void swiglu_backward(Element type, const void* gate, const void* up, const void* dy, void* dgate, void* dup, int64_t n,
                     Stream stream);

}  // namespace trireme::cuda
