#include <trireme/config/load.h>
#include <trireme/core/error.h>
#include <trireme/precision/precision.h>

#include <gmock/gmock.h>

namespace trireme::precision {
namespace {

using testing::HasSubstr;

PrecisionConfig config_of(const std::string& compute, const std::string& mode = "parameters",
                          const std::variant<double, std::string>& loss_scale = "dynamic") {
  PrecisionConfig config;
  config.compute = compute;
  config.mode = mode;
  config.loss_scale = loss_scale;
  return config;
}

TEST(Precision, AutoAsksTheDevice) {
  EXPECT_EQ(resolve(config_of("auto"), at::kCPU).compute, at::kFloat);
  EXPECT_EQ(resolve(config_of("auto"), at::kCPU, true).compute, at::kFloat);
  EXPECT_EQ(resolve(config_of("auto"), at::kCUDA, true).compute, at::kBFloat16);
  EXPECT_EQ(resolve(config_of("auto"), at::kCUDA, false).compute, at::kHalf);
}

TEST(Precision, ModeSaysWhereTheLowPrecisionIs) {
  const Precision held = resolve(config_of("bf16"), at::kCPU);
  EXPECT_EQ(held.parameters, at::kBFloat16);
  EXPECT_FALSE(held.autocast);
  const Precision cast = resolve(config_of("bf16", "autocast"), at::kCPU);
  EXPECT_EQ(cast.parameters, at::kFloat);
  EXPECT_EQ(cast.compute, at::kBFloat16);
  EXPECT_TRUE(cast.autocast);
  // auto became fp32: there is nothing to cast to.
  EXPECT_FALSE(resolve(config_of("auto", "autocast"), at::kCPU).autocast);
}

TEST(Precision, OnlyFloat16ScalesTheLoss) {
  EXPECT_EQ(resolve(config_of("fp32"), at::kCPU).loss_scale, LossScale::off);
  EXPECT_EQ(resolve(config_of("bf16"), at::kCPU).loss_scale, LossScale::off);
  EXPECT_EQ(resolve(config_of("bf16", "autocast"), at::kCPU).initial_scale, 1.0);
  const Precision dynamic = resolve(config_of("fp16"), at::kCPU);
  EXPECT_EQ(dynamic.loss_scale, LossScale::dynamic);
  EXPECT_EQ(dynamic.initial_scale, 65536.0);
  const Precision fixed = resolve(config_of("fp16", "autocast", 1024.0), at::kCPU);
  EXPECT_EQ(fixed.loss_scale, LossScale::fixed);
  EXPECT_EQ(fixed.initial_scale, 1024.0);
  const Precision off = resolve(config_of("fp16", "parameters", "off"), at::kCPU);
  EXPECT_EQ(off.loss_scale, LossScale::off);
  EXPECT_EQ(off.initial_scale, 1.0);
}

TEST(Precision, GradientsTravelAsConfigured) {
  PrecisionConfig config;
  EXPECT_EQ(resolve(config, at::kCPU).reduce, at::kFloat);
  config.reduce = "bf16";
  EXPECT_EQ(resolve(config, at::kCPU).reduce, at::kBFloat16);
}

Error refused(const PrecisionConfig& config) {
  try {
    (void)resolve(config, at::kCPU);
  } catch (const Error& error) {
    return error;
  }
  return {ErrorKind::unexpected, "nothing was thrown"};
}

TEST(Precision, RefusesWhatCannotBeMeant) {
  const Error scaled = refused(config_of("bf16", "parameters", 1024.0));
  EXPECT_EQ(scaled.kind(), ErrorKind::configuration);
  EXPECT_THAT(scaled.message(), HasSubstr("precision.loss_scale: 1024 was asked for, but only"));
  EXPECT_EQ(refused(config_of("fp32", "autocast")).kind(), ErrorKind::configuration);
}

TEST(Precision, EightBitsGoWithBfloat16OrFloat32Parameters) {
  PrecisionConfig config = config_of("bf16", "parameters");
  config.fp8 = true;
  EXPECT_TRUE(resolve(config, at::kCPU).fp8);
  config.mode = "autocast";
  EXPECT_THAT(refused(config).message(), HasSubstr("precision.fp8: true"));
  config = config_of("fp16", "parameters");
  config.fp8 = true;
  EXPECT_EQ(refused(config).kind(), ErrorKind::configuration);
  EXPECT_THAT(refused(config).message(), HasSubstr("fp16"));
}

std::variant<double, std::string> read_loss_scale(const std::string& text) {
  return config::load_text<PrecisionConfig>("loss_scale: " + text).value.loss_scale;
}

TEST(PrecisionConfig, ALossScaleIsAWordOrANumber) {
  EXPECT_EQ(std::get<std::string>(PrecisionConfig{}.loss_scale), "dynamic");
  EXPECT_EQ(std::get<std::string>(read_loss_scale("off")), "off");
  EXPECT_EQ(std::get<double>(read_loss_scale("1024")), 1024.0);
  EXPECT_EQ(std::get<double>(read_loss_scale("0.5")), 0.5);
  for (const char* text :
       {"''", "12x", "0", "-4", ".inf", ".nan", "Dynamic", "'1024'", "true", "null"}) {
    try {
      (void)read_loss_scale(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::configuration) << text;
      EXPECT_THAT(error.message(), HasSubstr("loss_scale")) << text;
    }
  }
}

}  // namespace
}  // namespace trireme::precision
