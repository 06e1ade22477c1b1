#include <trireme/report/progress_line.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

namespace trireme::report {
namespace {

Progress usual() {
  Progress progress;
  progress.step = 120;
  progress.total = 200;
  progress.loss = 2.34567;
  progress.lr = 3e-4;
  progress.per_second = 12345;
  progress.unit = "tokens";
  progress.seconds_left = 83;
  return progress;
}

TEST(ProgressText, HoldsStepLossRateAndTimeLeft) {
  EXPECT_EQ(progress_text(usual(), false),
            "step 120/200  loss 2.3457  lr 3.00e-04  12.3k tokens/s  eta 0:01:23");
}

TEST(ProgressText, NamesTheSlowestRankAboveFivePercent) {
  Progress progress = usual();
  progress.slowest_rank = 3;
  progress.slowest_excess = 0.05;
  EXPECT_EQ(progress_text(progress, false), progress_text(usual(), false));
  progress.slowest_excess = 0.123;
  EXPECT_EQ(progress_text(progress, false),
            progress_text(usual(), false) + "  slowest rank 3 (+12 %)");
  EXPECT_EQ(progress_text(progress, true),
            progress_text(usual(), false) + "  \033[33mslowest rank 3 (+12 %)\033[0m");
}

TEST(ProgressText, WithoutAKnownEnd) {
  Progress progress;
  progress.step = 7;
  progress.loss = std::numeric_limits<double>::quiet_NaN();
  progress.per_second = 3.5;
  EXPECT_EQ(progress_text(progress, false), "step 7  loss nan  lr 0.00e+00  3.50 samples/s");
}

TEST(Render, PlainLinesElsewhereRewrittenOnesOnATerminal) {
  EXPECT_EQ(render(usual(), {}), progress_text(usual(), false) + "\n");
  EXPECT_EQ(render(usual(), {.tty = true, .colour = false, .columns = 200}),
            "\r\033[K" + progress_text(usual(), false));
  EXPECT_EQ(render(usual(), {.tty = true, .colour = true, .columns = 13}), "\r\033[Kstep 120/200");
}

TEST(ShortNumber, KeepsThreeDigits) {
  EXPECT_EQ(short_number(0), "0.00");
  EXPECT_EQ(short_number(3.456), "3.46");
  EXPECT_EQ(short_number(999.4), "999");
  EXPECT_EQ(short_number(999.6), "1.00k");
  EXPECT_EQ(short_number(9996), "10.0k");
  EXPECT_EQ(short_number(12345), "12.3k");
  EXPECT_EQ(short_number(123456), "123k");
  EXPECT_EQ(short_number(4'560'000), "4.56M");
}

TEST(ShortTime, HoursMinutesSeconds) {
  EXPECT_EQ(short_time(0), "0:00:00");
  EXPECT_EQ(short_time(83.4), "0:01:23");
  EXPECT_EQ(short_time(93600), "26:00:00");
  EXPECT_EQ(short_time(-1), "0:00:00");
  EXPECT_EQ(short_time(std::numeric_limits<double>::infinity()), "?");
}

TEST(Terminal, APipeIsPlainAndNoColorIsHonoured) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_FALSE(terminal_of(ends[1]).tty);
  ProgressLine line(ends[1]);
  line.show(usual());
  line.clear();
  close(ends[1]);
  std::string text(1000, '\0');
  text.resize(static_cast<size_t>(read(ends[0], text.data(), text.size())));
  close(ends[0]);
  EXPECT_EQ(text, progress_text(usual(), false) + "\n");

  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) return;  // no terminals here
  const int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0);
  setenv("TERM", "xterm", 1);
  unsetenv("NO_COLOR");
  EXPECT_TRUE(terminal_of(terminal).tty);
  EXPECT_TRUE(terminal_of(terminal).colour);
  setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(terminal_of(terminal).colour);
  setenv("NO_COLOR", "", 1);
  EXPECT_TRUE(terminal_of(terminal).colour);
  setenv("TERM", "dumb", 1);
  EXPECT_FALSE(terminal_of(terminal).tty);
  close(terminal);
  close(master);
}

}  // namespace
}  // namespace trireme::report
