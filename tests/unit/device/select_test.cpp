#include <trireme/config/load.h>
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

const GpuSigns no_gpu;
const GpuSigns card{.node = "/dev/nvidia0", .driver = true, .selected = {}};

TEST(Select, CpuIsTakenWhateverTheMachineShows) {
  EXPECT_EQ(back_end_for({.type = "cpu"}, no_gpu), "");
  EXPECT_EQ(back_end_for({.type = "cpu"}, card), "");
  EXPECT_EQ(select({.type = "cpu"}, 3), c10::Device(c10::DeviceType::CPU));
  EXPECT_EQ(device_type({.type = "cpu"}), c10::DeviceType::CPU);
  open_back_end({.type = "cpu"});
}

TEST(Select, AutoTakesTheCardThatIsThere) {
  EXPECT_EQ(back_end_for({.type = "auto"}, no_gpu), "");
  EXPECT_EQ(back_end_for({.type = "auto"}, card), "cuda");
}

TEST(Select, CudaIsAskedForWithAndWithoutCards) {
  EXPECT_EQ(back_end_for({.type = "cuda"}, card), "cuda");
  EXPECT_EQ(back_end_for({.type = "cuda"}, no_gpu), "cuda");
  EXPECT_EQ(card.text(), "a GPU is visible: /dev/nvidia0");
  EXPECT_EQ(no_gpu.text(), "no GPU is visible");
}

TEST(Select, RanksTakeDevicesInTurn) {
  EXPECT_EQ(device_index(0, 4), 0);
  EXPECT_EQ(device_index(3, 4), 3);
  EXPECT_EQ(device_index(5, 4), 1);
  EXPECT_EQ(device_index(7, 1), 0);  // a launcher that shows each rank its own
}

TEST(Select, OtherTypesAreConfigurationErrors) {
  EXPECT_EQ(type_refusal("auto") + type_refusal("cpu") + type_refusal("cuda"), "");
  EXPECT_THAT(type_refusal("mps"), HasSubstr("NCCL"));
  EXPECT_THAT(type_refusal("tpu"), HasSubstr("'tpu'"));
  try {
    static_cast<void>(config::load_text<DeviceConfig>("type: tpu", "run.yaml"));
    ADD_FAILURE() << "tpu was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::configuration);
    EXPECT_THAT(error.what(), HasSubstr("run.yaml:1:7"));
    EXPECT_THAT(error.what(), HasSubstr("'tpu' is no device"));
    EXPECT_THAT(error.what(), HasSubstr("auto, cpu or cuda"));
  }
  EXPECT_EQ(config::load_text<DeviceConfig>("type: cuda").value.type, "cuda");
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
