#include <trireme/core/error.h>
#include <trireme/device/backend.h>
#include <trireme/device/select.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <unistd.h>

namespace trireme::device {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

/// TRIREME_BACKEND_DIR for one test.
class BackendFolder {
 public:
  explicit BackendFolder(const std::filesystem::path& folder) { setenv("TRIREME_BACKEND_DIR", folder.c_str(), 1); }
  ~BackendFolder() { unsetenv("TRIREME_BACKEND_DIR"); }
  BackendFolder(const BackendFolder&) = delete;
  BackendFolder& operator=(const BackendFolder&) = delete;
};

/// What the build made of tests/unit/device/back_ends.
const std::filesystem::path made = std::filesystem::canonical("/proc/self/exe").parent_path() / "back_ends";

template <class F>
Error refusal(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was refused";
  return Error(ErrorKind::unexpected, "");
}

Error load_refusal(const char* name) {
  return refusal([&] { static_cast<void>(load_backend(name)); });
}

TEST(Backend, ComesFromItsLibraryOnce) {
  const BackendFolder folder(made);
  Backend& fake = load_backend("fake");
  EXPECT_EQ(fake.devices().size(), 2U);
  EXPECT_EQ(&load_backend("fake"), &fake);
  EXPECT_EQ(backend_of(c10::DeviceType::PrivateUse1), &fake);
  EXPECT_EQ(backend_of(c10::DeviceType::CPU), nullptr);
  EXPECT_TRUE(fake.reaches(1, 1));
  EXPECT_FALSE(fake.reaches(0, 1));
}

TEST(Backend, WhatIsNotThereIsNotInThisBuild) {
  const BackendFolder folder(made);
  EXPECT_FALSE(is_installed("absent"));
  const Error error = load_refusal("absent");
  EXPECT_EQ(error.kind(), ErrorKind::environment);
  EXPECT_THAT(error.message(), HasSubstr("no 'absent' back end"));
  EXPECT_THAT(error.message(), HasSubstr((made / "libtrireme_absent.so").string()));
  EXPECT_FALSE(error.hint().empty());
}

TEST(Backend, NamesAreNoPaths) {
  EXPECT_FALSE(is_installed("../../etc/x"));
  EXPECT_FALSE(is_installed(""));
  EXPECT_EQ(load_refusal("../fake").kind(), ErrorKind::environment);
}

TEST(Backend, ADamagedLibraryIsReportedInTheLoadersWords) {
  const std::filesystem::path root = std::filesystem::path(testing::TempDir()) / ("back_ends_" + std::to_string(getpid()));
  std::filesystem::create_directories(root);
  std::ofstream(root / "libtrireme_damaged.so") << "no library";
  {
    const BackendFolder folder(root);
    EXPECT_TRUE(is_installed("damaged"));
    const Error error = load_refusal("damaged");
    EXPECT_EQ(error.kind(), ErrorKind::environment);
    EXPECT_THAT(error.message(), HasSubstr("'damaged' back end cannot be loaded"));
    EXPECT_THAT(error.message(), HasSubstr("libtrireme_damaged.so: file too short"));
    EXPECT_THAT(error.hint(), HasSubstr("launch/setup --gpu"));
    EXPECT_EQ(load_refusal("damaged").message(), error.message());  // a failure leaves nothing behind
  }
  std::filesystem::remove_all(root);
}

TEST(Backend, AnotherVersionAndAnotherLibraryAreRefused) {
  const BackendFolder folder(made);
  EXPECT_THAT(load_refusal("other_version").message(), HasSubstr("is of another version than this program, " TRIREME_VERSION));
  EXPECT_THAT(load_refusal("stranger").message(), HasSubstr("libtrireme_stranger.so is no back end"));
  EXPECT_EQ(load_refusal("stranger").kind(), ErrorKind::environment);
}

TEST(Backend, IsOpenedUsedAndSetUpByTheConfiguration) {
  const BackendFolder folder(made);
  DeviceConfig config{.type = "fake"};
  open_back_end(config);
  EXPECT_EQ(device_type(config), c10::DeviceType::PrivateUse1);
  EXPECT_EQ(select(config, 3), c10::Device(c10::DeviceType::PrivateUse1, 1));
  config = {.type = "fake", .memory_limit_mib = 256, .memory_fraction = 0.5, .optimization_level = "none", .tf32 = true};
  EXPECT_EQ(select(config, 0, /*deterministic=*/true), c10::Device(c10::DeviceType::PrivateUse1, 0));
  EXPECT_THAT(load_backend("fake").versions(),
              ElementsAre(Pair("use", "1"), Pair("apply", "1: tf32 true, benchmark true, deterministic false, fraction 1"),
                          Pair("use", "0"), Pair("apply", "0: tf32 true, benchmark false, deterministic true, fraction 0.25")));
}

TEST(Backend, WithoutADeviceItIsAnErrorThatNamesItsLibraries) {
  const BackendFolder folder(made);
  const Error error = refusal([] { open_back_end({.type = "bare"}); });
  EXPECT_EQ(error.kind(), ErrorKind::environment);
  EXPECT_THAT(error.message(), HasSubstr("device.type: bare"));
  EXPECT_THAT(error.message(), HasSubstr("finds no device (driver none)"));
  EXPECT_THAT(error.hint(), HasSubstr("device.type: cpu"));
}

TEST(Backend, FailuresToLoadNameTheKey) {
  const BackendFolder folder(testing::TempDir());
  const Error error = refusal([] { open_back_end({.type = "cuda"}); });
  EXPECT_EQ(error.kind(), ErrorKind::environment);
  EXPECT_THAT(error.message(), HasSubstr("device.type: cuda ("));
  EXPECT_THAT(error.message(), HasSubstr("no 'cuda' back end"));
}

}  // namespace
}  // namespace trireme::device
