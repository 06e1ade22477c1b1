#pragma once

#include <trireme/core/random.h>

#include <cstdint>

namespace trireme::optim {

/// bfloat16 as float32; exact.
void widen(const uint16_t* from, float* to, int64_t elements);

/// float32 to one of the two bfloat16 around it, the nearer the likelier: the expectation is the
/// value itself, so that changes far below the spacing add up (Gupta et al. 2015, "Deep learning
/// with limited numerical precision"; Zamirai et al. 2020, "Revisiting BFloat16 training"). What
/// bfloat16 can hold stays as it is, infinities and NaN too. Element i takes the random bits number
/// `first` + i of the key.
void round_stochastically(core::RandomKey key, int64_t first, const float* from, uint16_t* to,
                          int64_t elements);

}  // namespace trireme::optim
