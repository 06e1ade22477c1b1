#include "model/convnet.h"

#include <trireme/core/error.h>

#include "model/classification.h"
#include "model/convolution.h"
#include "model/layers.h"

#include <ATen/ATen.h>

#include <fmt/core.h>

namespace trireme::model {

namespace {

class PooledBlock final : public ConvolutionBlock {
 public:
  PooledBlock(const autograd::BuildContext& context, int64_t in, int64_t out, int64_t groups)
      : ConvolutionBlock(context, groups), convolution_(add("conv", "norm", {in, out})) {}

  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override {
    return {at::max_pool2d(at::relu(convolution_(inputs.at(0))), 2)};
  }

 private:
  NormedConvolution convolution_;
};

}  // namespace

ConvNet::ConvNet(const ConvNetSettings& settings) : settings_(settings) {
  int64_t channels = settings.image.channels;
  int64_t height = settings.image.height, width = settings.image.width;
  for (const int64_t filters : settings.filters) {
    check_groups("model.config.filters", filters, settings.groups);
    const std::string name = fmt::format("blocks.{}", blocks_.size());
    blocks_.emplace_back(name,
                         [=, groups = settings.groups](const autograd::BuildContext& context) {
                           return std::make_unique<PooledBlock>(context, channels, filters, groups);
                         });
    channels = filters;
    height /= 2;
    width /= 2;
  }
  if (height == 0 || width == 0)
    throw Error(
        ErrorKind::configuration,
        fmt::format("model.config.filters has {} blocks, which halve {} x {} pixels to none",
                    settings.filters.size(), settings.image.height, settings.image.width),
        "use fewer blocks");
  head_.push_back(linear_unit("head", channels * height * width, settings.classes));
}

std::vector<autograd::Unit*> ConvNet::units() {
  std::vector<autograd::Unit*> all;
  for (autograd::Unit& block : blocks_) all.push_back(&block);
  all.push_back(&head_.front());
  return all;
}

LossSums ConvNet::loss(const core::Batch& batch) {
  const at::ScalarType type = head_.front().block().parameters()[0].tensor.scalar_type();
  at::Tensor x = image_field(batch, settings_.image, type);
  for (autograd::Unit& block : blocks_) x = block(x);
  return classification_loss(head_.front()(x.flatten(1)), batch);
}

double ConvNet::flops_per_sample(int64_t) const {
  int64_t channels = settings_.image.channels, height = settings_.image.height, width = settings_.image.width;
  double products = 0;
  for (const int64_t filters : settings_.filters) {
    products += products_of({channels, filters}, height, width);
    channels = filters;
    height /= 2;
    width /= 2;
  }
  return 6 * (products + static_cast<double>(channels * height * width * settings_.classes));
}

void ConvNet::check_batch(const core::Batch& batch) const {
  check_targets(batch.at("label"), {}, settings_.classes);
}

void ConvNet::check_data(const std::vector<std::pair<std::string, int64_t>>& properties) const {
  check_image(DataCheck("convnet", properties), settings_.image, settings_.classes);
}

}  // namespace trireme::model
