#pragma once

#include <trireme/core/batch.h>
#include <trireme/model/model.h>

#include "model/data_check.h"
#include "model/settings.h"

namespace trireme::model {

/// Loss and accuracy of logits_BV against the field `label`. The logits are consumed by backward.
[[nodiscard]] LossSums classification_loss(const at::Tensor& logits_BV, const core::Batch& batch);

/// On the host: Error `data_damaged` for a target that counts (it is not cross_entropy_sum's ignore_index, and its mask, if
/// there is one, is not 0) and is outside of [0, classes).
void check_targets(const at::Tensor& targets, const at::Tensor& mask, int64_t classes);

/// The field `name` as floating point of dtype `type`; bytes (pixels) become [0, 1].
[[nodiscard]] at::Tensor real_field(const core::Batch& batch, std::string_view name,
                                    at::ScalarType type);

/// The field `image` as [B, C, H, W] of dtype `type`. Throws kind `configuration` where its shape
/// is not the model's.
[[nodiscard]] at::Tensor image_field(const core::Batch& batch, const ImageShape& shape,
                                     at::ScalarType type);

void check_image(const DataCheck& data, const ImageShape& shape, int64_t classes);

}  // namespace trireme::model
