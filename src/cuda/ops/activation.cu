#include "cuda/ops/activation.h"

#include "cuda/ops/elementwise.h"

#include <math.h>

namespace trireme::cuda {

namespace {

constexpr float twice_root = 1.5957691216057308F;  // 2 sqrt(2 / pi)
constexpr float cubic = 0.044715F;

// 1 / (1 + exp(-x)); 0 where exp would overflow. Below 2^126 the fast division is right to two units of 2^-24.
__device__ float logistic(float x) { return __fdividef(1.0F, 1.0F + expf(fminf(-x, 87.0F))); }
__device__ float gelu_gate(float x) { return logistic(x * (x * x * (twice_root * cubic) + twice_root)); }

struct Gelu {
  __device__ void operator()(const float (&x)[1], float (&y)[1]) const { y[0] = x[0] * gelu_gate(x[0]); }
};
struct GeluBackward {
  __device__ void operator()(const float (&x)[2], float (&dx)[1]) const {
    const float s = gelu_gate(x[0]);
    const float twice_u = x[0] * (x[0] * x[0] * (3.0F * twice_root * cubic) + twice_root);
    dx[0] = x[1] * (s + twice_u * (s * (1.0F - s)));
  }
};
struct Swiglu {
  __device__ void operator()(const float (&x)[2], float (&y)[1]) const { y[0] = x[0] * logistic(x[0]) * x[1]; }
};
struct SwigluBackward {
  __device__ void operator()(const float (&x)[3], float (&d)[2]) const {
    const float s = logistic(x[0]);
    d[0] = x[2] * x[1] * (s + x[0] * (s * (1.0F - s)));
    d[1] = x[2] * x[0] * s;
  }
};

}  // namespace

void gelu_forward(Element type, const void* x, void* y, int64_t n, Stream stream) {
  map<1, 1>(type, Gelu{}, {{x}}, {{y}}, n, stream);
}
void gelu_backward(Element type, const void* x, const void* dy, void* dx, int64_t n, Stream stream) {
  map<2, 1>(type, GeluBackward{}, {{x, dy}}, {{dx}}, n, stream);
}
void swiglu_forward(Element type, const void* gate, const void* up, void* y, int64_t n, Stream stream) {
  map<2, 1>(type, Swiglu{}, {{gate, up}}, {{y}}, n, stream);
}
void swiglu_backward(Element type, const void* gate, const void* up, const void* dy, void* dgate, void* dup, int64_t n,
                     Stream stream) {
  map<3, 2>(type, SwigluBackward{}, {{gate, up, dy}}, {{dgate, dup}}, n, stream);
}

}  // namespace trireme::cuda
