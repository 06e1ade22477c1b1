#include <trireme/core/error.h>
#include <trireme/guard/stop_requests.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

namespace trireme::guard {
namespace {

TEST(StopSignals, EachAsksToStopAndTheFirstOneIsNamed) {
  for (const int number : {SIGUSR1, SIGTERM, SIGINT, SIGHUP}) {
    const StopSignals signals;
    EXPECT_EQ(signals.received(), 0);
    raise(number);
    EXPECT_EQ(signals.received(), number);
    raise(SIGUSR1);
    EXPECT_EQ(signals.received(), number);
  }
}

TEST(StopSignals, TheOldHandlersComeBack) {
  struct sigaction before {};
  sigaction(SIGUSR1, nullptr, &before);
  { const StopSignals signals; }
  struct sigaction after {};
  sigaction(SIGUSR1, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

TEST(StopSignals, AHangUpUnderNohupIsNobodysWish) {
  struct sigaction ignore {
  }, before{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGHUP, &ignore, &before);
  {
    const StopSignals signals;
    raise(SIGHUP);
    EXPECT_EQ(signals.received(), 0);
  }
  sigaction(SIGHUP, &before, nullptr);
}

TEST(StopSignals, ABrokenPipeIsAnErrorOfTheWriteOnly) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  const StopSignals signals;
  EXPECT_EQ(write(ends[1], "x", 1), -1);  // the default would have ended the process
  EXPECT_EQ(errno, EPIPE);
  EXPECT_EQ(signals.received(), 0);
  close(ends[1]);
}

TEST(StopSignals, OnlyOneAtATime) {
  const StopSignals first;
  EXPECT_THROW(StopSignals(), Error);
}

TEST(StopSignals, ASecondInterruptEndsTheProcess) {
  const pid_t child = fork();
  if (child == 0) {
    const StopSignals signals;
    raise(SIGINT);
    if (signals.received() != SIGINT) _exit(3);
    raise(SIGINT);
    _exit(4);  // not reached
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
  EXPECT_EQ(WTERMSIG(status), SIGINT);
}

TEST(ControlFiles, AreTakenOnce) {
  const std::filesystem::path control =
      std::filesystem::path(testing::TempDir()) / ("control_" + std::to_string(getpid()));
  EXPECT_FALSE(take_control_files(control).stop);  // no folder
  std::filesystem::create_directories(control);
  EXPECT_FALSE(take_control_files(control).save);
  std::ofstream(control / "save") << "now";
  Requests requests = take_control_files(control);
  EXPECT_TRUE(requests.save);
  EXPECT_FALSE(requests.stop);
  std::ofstream(control / "stop");
  requests = take_control_files(control);
  EXPECT_TRUE(requests.stop);
  EXPECT_FALSE(requests.save);
  EXPECT_FALSE(take_control_files(control).stop);
  EXPECT_TRUE(std::filesystem::is_empty(control));
  std::filesystem::remove_all(control);
}

}  // namespace
}  // namespace trireme::guard
