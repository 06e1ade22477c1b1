#include <trireme/comm/device_communicator.h>
#include <trireme/comm/local.h>
#include <trireme/core/error.h>

#include <gmock/gmock.h>

namespace trireme::comm {
namespace {

TEST(DeviceCommunicator, OfTheCpuIsTheOneOfTheRanks) {
  const CommunicatorPtr ranks = make_local_communicator();
  EXPECT_EQ(make_device_communicator(ranks, c10::kCPU), ranks);
}

TEST(DeviceCommunicator, WithoutItsBackEndIsRefused) {
  try {
    static_cast<void>(make_device_communicator(make_local_communicator(), c10::kHIP));
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::environment);
    EXPECT_THAT(error.message(), testing::HasSubstr("devices of type hip"));
  }
}

TEST(DeviceCommunicator, IsMadeByWhatWasRegisteredLast) {
  const CommunicatorPtr ranks = make_local_communicator(), made = make_local_communicator();
  c10::Device asked(c10::kCPU);
  register_device_communicators(c10::kXPU,
                                [](const CommunicatorPtr& given, c10::Device) { return given; });
  register_device_communicators(c10::kXPU, [&](const CommunicatorPtr& given, c10::Device device) {
    EXPECT_EQ(given, ranks);
    asked = device;
    return made;
  });
  const c10::Device device(c10::kXPU, 3);
  EXPECT_EQ(make_device_communicator(ranks, device), made);
  EXPECT_EQ(asked, device);
}

TEST(Communicator, TellsItsDeadline) {
  using namespace std::chrono_literals;
  const CommunicatorPtr ranks = make_local_communicator();
  EXPECT_EQ(ranks->deadline(), 600s);
  ranks->set_deadline(3s);
  EXPECT_EQ(ranks->deadline(), 3s);
  EXPECT_EQ(ranks->split(0, 0, "part")->deadline(), 3s);
}

}  // namespace
}  // namespace trireme::comm
