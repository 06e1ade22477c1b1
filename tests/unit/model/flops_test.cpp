#include "model/convnet.h"
#include "model/gpt2.h"
#include "model/mlp.h"
#include "model/resnet.h"

#include <gtest/gtest.h>

namespace trireme::model {
namespace {

TEST(Flops, OfAnMlpAreSixForEachWeight) {
  MlpSettings settings;
  settings.inputs = 10;
  settings.hidden = {20, 30};
  settings.classes = 4;
  EXPECT_EQ(Mlp(settings).flops_per_sample(0), 6.0 * (10 * 20 + 20 * 30 + 30 * 4));
}

TEST(Flops, OfGpt2AreThoseOfTheUsualFormula) {
  Gpt2Settings settings;  // GPT-2 124M
  settings.vocab_size = 50257;
  settings.n_positions = 1024;
  settings.n_embd = 768;
  settings.n_layer = 12;
  settings.n_head = 12;
  const double weights = 12.0 * 12 * 768 * 768 + 50257.0 * 768;
  EXPECT_DOUBLE_EQ(Gpt2(settings).flops_per_sample(1024), 1024 * (6 * weights + 12.0 * 12 * 768 * 1024));
  EXPECT_DOUBLE_EQ(Gpt2(settings).flops_per_sample(256), 256 * (6 * weights + 12.0 * 12 * 768 * 256)) << "as long as what is trained";
  settings.n_inner = 2 * 768;
  EXPECT_DOUBLE_EQ(Gpt2(settings).flops_per_sample(1), 6 * (12.0 * 8 * 768 * 768 + 50257.0 * 768) + 12.0 * 12 * 768);
}

TEST(Flops, OfConvolutionsFollowTheSizeOfThePicture) {
  ConvNetSettings settings;
  settings.image = {.channels = 3, .height = 8, .width = 6};
  settings.filters = {4, 8};
  settings.groups = 1;
  settings.classes = 5;
  EXPECT_EQ(ConvNet(settings).flops_per_sample(0), 6.0 * (3 * 4 * 9 * 8 * 6 + 4 * 8 * 9 * 4 * 3 + 8 * 2 * 1 * 5));
}

TEST(Flops, OfAResNetCountStridesAndShortcuts) {
  ResNetSettings settings;
  settings.image = {.channels = 3, .height = 9, .width = 9};
  settings.blocks = {1, 1};
  settings.base_width = 4;
  settings.groups = 1;
  settings.classes = 5;
  const double stem = 3 * 4 * 9 * 81, first = 2 * (4 * 4 * 9 * 81);
  const double second = 4 * 8 * 9 * 25 + 4 * 8 * 25 + 8 * 8 * 9 * 25;  // 9 rows at stride 2: 5
  EXPECT_EQ(ResNet(settings).flops_per_sample(0), 6.0 * (stem + first + second + 8 * 5));
}

}  // namespace
}  // namespace trireme::model
