// What all models with labels have in common, and their settings.

#include <trireme/autograd/backward.h>
#include <trireme/core/error.h>

#include "model/convnet.h"
#include "model/mlp.h"
#include "model/registry.h"
#include "model/resnet.h"

#include <cmath>
#include <functional>
#include <map>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::model {
namespace {

struct Subject {
  std::string name;
  Settings settings;
};
void PrintTo(const Subject& subject, std::ostream* out) {
  *out << subject.name;
}

const Subject subjects[] = {
    {"mlp", MlpSettings{.inputs = 2 * 8 * 8, .hidden = {12, 6}, .classes = 5}},
    {"mlp",
     MlpSettings{
         .inputs = 2 * 8 * 8, .hidden = {12}, .classes = 5, .activation = "gelu", .dropout = 0.3}},
    {"convnet", ConvNetSettings{.image = {2, 8, 8}, .filters = {4, 8}, .groups = 2, .classes = 5}},
    {"resnet",
     ResNetSettings{
         .image = {2, 8, 8}, .base_width = 4, .blocks = {1, 1}, .groups = 2, .classes = 5}},
};

autograd::BuildContext context(at::ScalarType type) {
  autograd::BuildContext made;
  made.random = core::RandomKey(4);
  made.dtype = type;
  return made;
}

core::Batch make_batch(std::vector<int64_t> samples, at::ScalarType type = at::kByte) {
  core::Batch batch;
  std::vector<at::Tensor> images;
  std::vector<int64_t> labels;
  for (const int64_t sample : samples) {
    at::manual_seed(static_cast<uint64_t>(sample));
    images.push_back(at::randint(0, 256, {2, 8, 8}).to(at::kByte));
    labels.push_back(sample % 5);
  }
  at::Tensor image =
      images.empty() ? at::empty({0, 2, 8, 8}, at::TensorOptions(at::kByte)) : at::stack(images);
  if (type != at::kByte) image = image.to(type) / 255.0;
  at::Tensor label = at::empty({static_cast<int64_t>(labels.size())}, at::TensorOptions(at::kLong));
  for (size_t i = 0; i < labels.size(); ++i) label[static_cast<int64_t>(i)] = labels[i];
  batch.fields = {{"image", image}, {"label", label}};
  batch.samples = std::move(samples);
  batch.random = core::RandomKey(9);
  return batch;
}

class Classifier : public testing::TestWithParam<Subject> {
 protected:
  std::unique_ptr<Model> build(at::ScalarType type = at::kFloat) {
    ModelConfig config;
    config.name = GetParam().name;
    config.settings = GetParam().settings;
    auto model = create_model(config);
    model->build(context(type));
    return model;
  }
};

std::map<std::string, at::Tensor> take_gradients(Model& model) {
  std::map<std::string, at::Tensor> all;
  for (auto& p : model.parameters()) {
    EXPECT_TRUE(p.tensor.grad().defined()) << p.name;
    all[p.name] = p.tensor.grad().clone();
    p.tensor.mutable_grad().reset();
  }
  return all;
}

TEST_P(Classifier, GradientsAreThoseOfFiniteDifferences) {
  const auto model = build(at::kDouble);
  const core::Batch batch = make_batch({1, 2, 3}, at::kDouble);
  autograd::backward(model->loss(batch).loss_sum);
  const double step = 1e-6;
  for (auto& p : model->parameters()) {
    ASSERT_TRUE(p.tensor.grad().defined()) << p.name;
    const at::NoGradGuard no_grad;
    at::Tensor flat = p.tensor.view({-1});
    const int64_t at = flat.numel() / 2;
    const double value = flat[at].item<double>();
    const auto loss = [&](double x) {
      flat[at].fill_(x);
      return model->loss(batch).loss_sum.item<double>();
    };
    const double slope = (loss(value + step) - loss(value - step)) / (2 * step);
    flat[at].fill_(value);
    EXPECT_NEAR(p.tensor.grad().view({-1})[at].item<double>(), slope, 1e-5) << p.name;
  }
}

TEST_P(Classifier, SumsOfPartsAreTheSumOfTheWhole) {
  const auto model = build(at::kDouble);
  const LossSums whole = model->loss(make_batch({5, 6, 7}));
  EXPECT_EQ(whole.weight.item<double>(), 3.0);
  EXPECT_EQ(whole.metrics.at(0).first, "accuracy");
  autograd::backward(whole.loss_sum);
  const auto expected = take_gradients(*model);
  double loss = 0, correct = 0;
  for (const auto& samples : {std::vector<int64_t>{5}, std::vector<int64_t>{6, 7}}) {
    const LossSums part = model->loss(make_batch(samples));
    loss += part.loss_sum.item<double>();
    correct += part.metrics[0].second.item<double>();
    autograd::backward(part.loss_sum);
  }
  EXPECT_NEAR(loss, whole.loss_sum.item<double>(), 1e-9);
  EXPECT_EQ(correct, whole.metrics[0].second.item<double>());
  for (const auto& [name, gradient] : take_gradients(*model))
    EXPECT_TRUE(at::allclose(gradient, expected.at(name), 1e-9, 1e-10)) << name;
}

TEST_P(Classifier, AnEmptyBatchReachesAllParametersWithZero) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto model = build(type);
    const LossSums sums = model->loss(make_batch({}));
    EXPECT_EQ(sums.weight.item<double>(), 0.0);
    autograd::backward(sums.loss_sum);
    for (const auto& [name, gradient] : take_gradients(*model))
      EXPECT_EQ(gradient.abs().max().item<double>(), 0.0) << name;
  }
}

TEST_P(Classifier, LowPrecisionWorks) {
  const auto exact = build();
  exact->set_training(false);
  const double expected = exact->loss(make_batch({1, 2, 3, 4})).loss_sum.item<double>();
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const auto model = build(type);
    model->set_training(false);
    const LossSums sums = model->loss(make_batch({1, 2, 3, 4}));
    EXPECT_NEAR(sums.loss_sum.item<double>(), expected, 0.05 * expected);
    autograd::backward(sums.loss_sum);
    for (const auto& [name, gradient] : take_gradients(*model))
      EXPECT_EQ(gradient.scalar_type(), type) << name;
  }
}

TEST_P(Classifier, LearnsWhatItIsShown) {
  const auto model = build();
  core::Batch batch = make_batch({0, 1, 2, 3, 4});
  const double before = model->loss(batch).loss_sum.item<double>();
  for (int step = 0; step < 200; ++step) {
    batch.random = core::RandomKey(static_cast<uint64_t>(step));  // another dropout mask
    autograd::backward(model->loss(batch).loss_sum, 1.0 / 5);
    const at::NoGradGuard no_grad;
    for (auto& p : model->parameters()) {
      p.tensor.sub_(p.tensor.grad() * 0.1);
      p.tensor.mutable_grad().reset();
    }
  }
  model->set_training(false);
  EXPECT_LT(model->loss(batch).loss_sum.item<double>(), 0.5 * before);
}

TEST_P(Classifier, ChecksTheData) {
  const auto model = build();
  EXPECT_NO_THROW(
      model->check_data({{"channels", 2}, {"height", 8}, {"width", 8}, {"classes", 5}}));
  EXPECT_NO_THROW(model->check_data({}));
  EXPECT_EQ(model->nominal_weight_per_sample(), 1.0);
  EXPECT_EQ(model->tokens_per_sample(), 0);
  try {
    model->check_data({{"channels", 2}, {"height", 8}, {"width", 8}, {"classes", 10}});
    FAIL() << "10 classes accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::configuration);
    EXPECT_THAT(error.message(), testing::HasSubstr("classes 10"));
    EXPECT_THAT(error.message(), testing::HasSubstr("classes 5"));
  }
  EXPECT_THROW(model->check_data({{"channels", 2}, {"height", 9}, {"width", 8}}), Error);
  core::Batch wrong = make_batch({1});
  wrong.fields[0].values = at::zeros({1, 2, 9, 8});
  EXPECT_THROW((void)model->loss(wrong), Error);
  core::Batch unlabelled = make_batch({1});
  unlabelled.fields.pop_back();
  EXPECT_THROW((void)model->loss(unlabelled), Error);
}

INSTANTIATE_TEST_SUITE_P(Models, Classifier, testing::ValuesIn(subjects), [](const auto& subject) {
  return subject.param.name + std::to_string(subject.index);
});

TEST(Mlp, TakesFeatures) {
  Mlp model({.inputs = 3, .hidden = {4}, .classes = 2});
  model.build(context(at::kFloat));
  core::Batch batch;
  batch.fields = {{"features", at::ones({2, 3})},
                  {"label", at::zeros({2}, at::TensorOptions(at::kLong))}};
  batch.samples = {0, 1};
  EXPECT_EQ(model.loss(batch).weight.item<double>(), 2.0);
  EXPECT_THROW(model.check_data({{"features", 4}}), Error);
}

TEST(ResNet, TheDefaultIsResNet18) {
  ResNet model(ResNetSettings{});
  autograd::BuildContext meta = context(at::kFloat);
  meta.device = at::Device(at::kMeta);
  model.build(meta);
  // torchvision's resnet18 with 10 classes has 11181642; its 7x7 stem of 9408 weights is a 3x3 one
  // of 1728 here.
  EXPECT_EQ(core::elements(model.parameters()), 11181642 - 9408 + 1728);
  const core::ParameterSet parameters = model.parameters();
  EXPECT_EQ(parameters[0].name, "conv1.weight");
  EXPECT_EQ(parameters[3].name, "layer1.0.conv1.weight");
}

TEST(ConvNet, RefusesSettingsThatDoNotFit) {
  EXPECT_THROW(ConvNet({.image = {1, 4, 4}, .filters = {8, 8, 8}}), Error);
  EXPECT_THROW(ConvNet({.filters = {12}, .groups = 8}), Error);
  EXPECT_THROW(ResNet({.base_width = 12, .groups = 8}), Error);
}

TEST(GrayImages, MayHaveNoChannelDimension) {
  ConvNet model({.image = {1, 8, 8}, .filters = {4}, .groups = 2, .classes = 3});
  model.build(context(at::kFloat));
  core::Batch batch;
  batch.fields = {{"image", at::ones({2, 8, 8})},
                  {"label", at::zeros({2}, at::TensorOptions(at::kLong))}};
  batch.samples = {0, 1};
  EXPECT_EQ(model.loss(batch).weight.item<double>(), 2.0);
}

}  // namespace
}  // namespace trireme::model
