#pragma once

#include "cuda/ops/element.h"
#include "cuda/stream_type.h"

#include <cstdint>

namespace trireme::cuda {

/// Per row, dense [rows, columns] logits.
struct CrossEntropyForward {
  Element type = Element::float32;
  const void* logits = nullptr;
  const int64_t* targets = nullptr;
  const bool* mask = nullptr;  ///< null: all rows count whose target is not ignore_index
  int64_t ignore_index = -100;
  int64_t rows = 0, columns = 0;
  // Results, [rows]:
  int64_t* counted = nullptr;  ///< the target, or -1 where the row does not count
  float* maximum = nullptr;
  float* sum = nullptr;   ///< of exp(logit - maximum)
  float* loss = nullptr;  ///< 0 where the row does not count, NaN where its target is no class
  bool* correct = nullptr;
};
void cross_entropy_rows(const CrossEntropyForward& all, Stream stream);

/// The sums of the losses, of the rows that count, and of the correct ones.
void cross_entropy_sums(const float* loss, const int64_t* counted, const bool* correct, int64_t rows, float* loss_sum,
                        double* weight, double* hits, Stream stream);

struct CrossEntropyBackward {
  Element type = Element::float32;
  const void* logits = nullptr;
  void* into = nullptr;  ///< may be `logits`
  const int64_t* counted = nullptr;
  const float* maximum = nullptr;
  const float* sum = nullptr;
  const float* gradient = nullptr;  ///< one number on the device
  int64_t rows = 0, columns = 0;
};
void cross_entropy_backward(const CrossEntropyBackward& all, Stream stream);

}  // namespace trireme::cuda
