#include <trireme/device/peak_flops.h>

#include <gtest/gtest.h>

namespace trireme::device {
namespace {

TEST(PeakFlops, FollowNameAndType) {
  EXPECT_EQ(peak_flops("NVIDIA H200", c10::ScalarType::BFloat16, true), 989.4e12);
  EXPECT_EQ(peak_flops("NVIDIA H100 80GB HBM3", c10::ScalarType::Half, false), 989.4e12);
  EXPECT_EQ(peak_flops("NVIDIA A100-SXM4-80GB", c10::ScalarType::Float, true), 156e12);
  EXPECT_EQ(peak_flops("NVIDIA A100-SXM4-80GB", c10::ScalarType::Float, false), 19.5e12);
}

TEST(PeakFlops, TellApartNamesThatContainOthers) {
  EXPECT_EQ(peak_flops("NVIDIA H100 PCIe", c10::ScalarType::BFloat16, true), 756e12);
  EXPECT_EQ(peak_flops("NVIDIA L40S", c10::ScalarType::BFloat16, true), 362e12);
  EXPECT_EQ(peak_flops("NVIDIA L40", c10::ScalarType::BFloat16, true), 181e12);
  EXPECT_EQ(peak_flops("NVIDIA L4", c10::ScalarType::BFloat16, true), 121e12);
  EXPECT_EQ(peak_flops("NVIDIA GH200 480GB", c10::ScalarType::BFloat16, true), 989.4e12);
}

TEST(PeakFlops, OfWholeWordsAlone) {
  for (const char* const name : {"NVIDIA RTX A1000", "NVIDIA RTX A1000 Laptop GPU", "NVIDIA A100X", "NVIDIA H20", "NVIDIA L400", "NVIDIA XA100",
                                 "NVIDIA RTX 4000 SFF Ada", "NVIDIA B2000"})
    EXPECT_FALSE(peak_flops(name, c10::ScalarType::BFloat16, true)) << name;
  EXPECT_FALSE(peak_flops("NVIDIA A10G", c10::ScalarType::BFloat16, true)) << "not an A10";
  EXPECT_EQ(peak_flops("NVIDIA A10", c10::ScalarType::BFloat16, true), 125e12);
  EXPECT_EQ(peak_flops("NVIDIA H200 NVL", c10::ScalarType::BFloat16, true), 835.5e12);
  EXPECT_EQ(peak_flops("A100", c10::ScalarType::BFloat16, true), 312e12);
  EXPECT_EQ(peak_flops("A1000 beside A100-PCIE-40GB", c10::ScalarType::BFloat16, true), 312e12);
}

TEST(PeakFlops, AreNotGuessed) {
  EXPECT_FALSE(peak_flops("NVIDIA H100 80GB HBM3 MIG 1g.10gb", c10::ScalarType::Half, true));
  EXPECT_FALSE(peak_flops("AMD EPYC", c10::ScalarType::Float, true));
  EXPECT_FALSE(peak_flops("NVIDIA H200", c10::ScalarType::Double, true));
}

}  // namespace
}  // namespace trireme::device
