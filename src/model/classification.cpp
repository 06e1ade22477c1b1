#include "model/classification.h"

#include <trireme/core/error.h>
#include <trireme/ops/cross_entropy.h>

#include <ATen/ATen.h>

#include <fmt/core.h>
#include <fmt/ranges.h>

namespace trireme::model {

LossSums classification_loss(const at::Tensor& logits_BV, const core::Batch& batch) {
  const at::Tensor labels_B = batch.at("label").to(at::kLong).reshape({-1});
  ops::CrossEntropy sums =
      ops::cross_entropy_sum(logits_BV, labels_B, {}, {.consume_logits = true});
  return {sums.loss_sum, sums.weight, {{"accuracy", sums.correct}}};
}

void check_targets(const at::Tensor& targets, const at::Tensor& mask, int64_t classes) {
  at::Tensor counted = targets.ne(ops::CrossEntropyOptions{}.ignore_index);
  if (mask.defined()) counted = counted.logical_and(mask.ne(0));
  const at::Tensor wrong = counted.logical_and(targets.lt(0).logical_or(targets.ge(classes)));
  if (!wrong.any().item<bool>()) return;
  const auto row = wrong.flatten().nonzero()[0].item<int64_t>();
  throw Error(ErrorKind::data_damaged,
              fmt::format("target {} in row {} is outside of the model's {} classes",
                          targets.flatten()[row].item<int64_t>(), row, classes),
              "check that the data was prepared with the tokenizer or labels of this model");
}

at::Tensor real_field(const core::Batch& batch, std::string_view name, at::ScalarType type) {
  const at::Tensor& values = batch.at(name);
  const at::Tensor real = values.to(type);
  return values.scalar_type() == at::kByte ? real / 255.0 : real;
}

at::Tensor image_field(const core::Batch& batch, const ImageShape& shape, at::ScalarType type) {
  at::Tensor image = real_field(batch, "image", type);
  if (image.dim() == 3) image = image.unsqueeze(1);  // [B, H, W]: one channel
  const std::vector<int64_t> expected = {image.size(0), shape.channels, shape.height, shape.width};
  if (image.sizes() != at::IntArrayRef(expected))
    throw Error(ErrorKind::configuration,
                fmt::format("the batch's images are [{}], the model takes [{}]",
                            fmt::join(image.sizes(), ", "), fmt::join(expected, ", ")),
                "set model.config.channels, height and width to those of the data");
  return image;
}

void check_image(const DataCheck& data, const ImageShape& shape, int64_t classes) {
  data.equals("channels", "model.config.channels", shape.channels);
  data.equals("height", "model.config.height", shape.height);
  data.equals("width", "model.config.width", shape.width);
  data.at_most("classes", "model.config.classes", classes);
}

}  // namespace trireme::model
