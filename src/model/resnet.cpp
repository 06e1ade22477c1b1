#include "model/resnet.h"

#include "model/classification.h"
#include "model/convolution.h"
#include "model/layers.h"

#include <optional>

#include <ATen/ATen.h>

#include <fmt/core.h>

namespace trireme::model {

namespace {

using autograd::BuildContext;
using Tensors = std::vector<at::Tensor>;

class Stem final : public ConvolutionBlock {
 public:
  Stem(const BuildContext& context, int64_t in, int64_t out, int64_t groups)
      : ConvolutionBlock(context, groups), convolution_(add("conv1", "bn1", {in, out})) {}
  Tensors forward(const Tensors& inputs) override { return {at::relu(convolution_(inputs.at(0)))}; }

 private:
  NormedConvolution convolution_;
};

class BasicBlock final : public ConvolutionBlock {
 public:
  BasicBlock(const BuildContext& context, int64_t in, int64_t out, int64_t stride, int64_t groups)
      : ConvolutionBlock(context, groups),
        first_(add("conv1", "bn1", {in, out, 3, stride})),
        second_(add("conv2", "bn2", {out, out})) {
    if (in != out || stride != 1)
      shortcut_ = add("downsample.0", "downsample.1", {in, out, 1, stride});
  }

  Tensors forward(const Tensors& inputs) override {
    const at::Tensor& x = inputs.at(0);
    const at::Tensor y = second_(at::relu(first_(x)));
    return {at::relu(y + (shortcut_ ? (*shortcut_)(x) : x))};
  }

 private:
  NormedConvolution first_, second_;
  std::optional<NormedConvolution> shortcut_;
};

}  // namespace

ResNet::ResNet(const ResNetSettings& settings) : settings_(settings) {
  const int64_t groups = settings.groups;
  check_groups("model.config.base_width", settings.base_width, groups);
  int64_t width = settings.base_width;
  convolutions_.emplace_back("", [=, in = settings.image.channels](const BuildContext& context) {
    return std::make_unique<Stem>(context, in, width, groups);
  });
  for (size_t stage = 0; stage < settings.blocks.size(); ++stage) {
    const int64_t out = settings.base_width << stage;
    for (int64_t block = 0; block < settings.blocks[stage]; ++block) {
      const int64_t stride = block == 0 && stage > 0 ? 2 : 1;
      convolutions_.emplace_back(
          fmt::format("layer{}.{}", stage + 1, block), [=](const BuildContext& context) {
            return std::make_unique<BasicBlock>(context, width, out, stride, groups);
          });
      width = out;
    }
  }
  head_.push_back(linear_unit("fc", width, settings.classes));
}

std::vector<autograd::Unit*> ResNet::units() {
  std::vector<autograd::Unit*> all;
  for (autograd::Unit& unit : convolutions_) all.push_back(&unit);
  all.push_back(&head_.front());
  return all;
}

LossSums ResNet::loss(const core::Batch& batch) {
  const at::ScalarType type = head_.front().block().parameters()[0].tensor.scalar_type();
  at::Tensor x = image_field(batch, settings_.image, type);
  for (autograd::Unit& unit : convolutions_) x = unit(x);
  return classification_loss(head_.front()(x.mean({2, 3})), batch);
}

double ResNet::flops_per_sample(int64_t) const {
  int64_t in = settings_.base_width, height = settings_.image.height, width = settings_.image.width;
  double products = products_of({settings_.image.channels, in}, height, width);
  for (size_t stage = 0; stage < settings_.blocks.size(); ++stage) {
    const int64_t out = settings_.base_width << stage;
    for (int64_t block = 0; block < settings_.blocks[stage]; ++block) {
      const int64_t stride = block == 0 && stage > 0 ? 2 : 1;
      products += products_of({in, out, 3, stride}, height, width);
      if (in != out || stride != 1) products += products_of({in, out, 1, stride}, height, width);
      height = (height + stride - 1) / stride;
      width = (width + stride - 1) / stride;
      products += products_of({out, out}, height, width);
      in = out;
    }
  }
  return 6 * (products + static_cast<double>(in * settings_.classes));
}

void ResNet::check_batch(const core::Batch& batch) const {
  check_targets(batch.at("label"), {}, settings_.classes);
}

void ResNet::check_data(const std::vector<std::pair<std::string, int64_t>>& properties) const {
  check_image(DataCheck("resnet", properties), settings_.image, settings_.classes);
}

}  // namespace trireme::model
