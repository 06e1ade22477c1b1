#include <trireme/core/error.h>
#include <trireme/device/select.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <unistd.h>

namespace trireme::device {
namespace {

using testing::HasSubstr;

Error refusal(const std::string& type, const GpuSigns& signs) {
  try {
    static_cast<void>(select({.type = type}, signs));
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << type << " was accepted";
  return Error(ErrorKind::unexpected, "");
}

const GpuSigns no_gpu;
const GpuSigns card{.node = "/dev/nvidia0", .driver = true, .selected = {}};

TEST(Select, CpuIsTakenWhateverTheMachineShows) {
  EXPECT_EQ(select({.type = "cpu"}, no_gpu), c10::Device(c10::DeviceType::CPU));
  EXPECT_EQ(select({.type = "cpu"}, card), c10::Device(c10::DeviceType::CPU));
  EXPECT_EQ(select({.type = "auto"}, no_gpu), c10::Device(c10::DeviceType::CPU));
}

TEST(Select, AutoNeverFallsBackSilently) {
  const Error error = refusal("auto", card);
  EXPECT_EQ(error.kind(), ErrorKind::environment);
  EXPECT_THAT(error.message(), HasSubstr("/dev/nvidia0"));
  EXPECT_THAT(error.hint(), HasSubstr("device.type: cpu"));
}

TEST(Select, CudaIsRefusedWithAndWithoutCards) {
  EXPECT_EQ(refusal("cuda", card).kind(), ErrorKind::environment);
  EXPECT_THAT(refusal("cuda", card).message(), HasSubstr("a GPU is visible: /dev/nvidia0"));
  EXPECT_THAT(refusal("cuda", no_gpu).message(), HasSubstr("no GPU is visible"));
  EXPECT_FALSE(refusal("cuda", no_gpu).hint().empty());
}

TEST(Select, OtherTypesAreConfigurationErrors) {
  EXPECT_EQ(refusal("mps", no_gpu).kind(), ErrorKind::configuration);
  EXPECT_THAT(refusal("mps", no_gpu).message(), HasSubstr("NCCL"));
  EXPECT_EQ(refusal("tpu", no_gpu).kind(), ErrorKind::configuration);
  EXPECT_THAT(refusal("tpu", no_gpu).message(), HasSubstr("'tpu'"));
}

TEST(GpuSigns, VisibilityFollowsNodesAndTheVariable) {
  EXPECT_FALSE((GpuSigns{"", true, {}}).visible());
  EXPECT_FALSE((GpuSigns{"", false, "0"}).visible());
  EXPECT_TRUE((GpuSigns{"", true, "0"}).visible());
  EXPECT_TRUE((GpuSigns{"/dev/nvidia3", false, {}}).visible());
  EXPECT_FALSE((GpuSigns{"/dev/nvidia3", true, ""}).visible());
  EXPECT_FALSE((GpuSigns{"/dev/nvidia3", true, "-1"}).visible());
}

TEST(GpuSigns, OnlyNumberedNodesAreCards) {
  const std::filesystem::path root =
      std::filesystem::path(testing::TempDir()) / ("gpu_signs_" + std::to_string(getpid()));
  std::filesystem::create_directories(root / "dev");
  std::filesystem::create_directories(root / "proc/driver/nvidia");
  std::ofstream(root / "dev/nvidiactl");
  std::ofstream(root / "dev/nvidia-uvm");
  EXPECT_EQ(look_for_gpus(root).node, "");
  EXPECT_TRUE(look_for_gpus(root).driver);
  std::ofstream(root / "dev/nvidia2");
  EXPECT_EQ(look_for_gpus(root).node, "/dev/nvidia2");
  std::filesystem::remove_all(root);
  EXPECT_EQ(look_for_gpus(root).node, "");
  EXPECT_FALSE(look_for_gpus(root).driver);
}

}  // namespace
}  // namespace trireme::device
