#include <trireme/storage/file_writer.h>

#include "storage/system_calls.h"
#include "unit/storage/faults.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

namespace trireme::storage {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::FaultScope;
using test::TemporaryFolder;
using testing::HasSubstr;

const std::string text(3'500'000, 'a');

TEST(FileWriter, WritesHashesAndCounts) {
  const TemporaryFolder folder;
  FileWriter file(folder / "f");
  file.write("head ");
  file.write(text);
  file.write("");
  file.finish();
  EXPECT_EQ(file.bytes(), 5 + 3'500'000);
  EXPECT_EQ(file.hash(), hash_of("head " + text));
  EXPECT_EQ(test::contents_of(folder / "f"), "head " + text);
}

TEST(FileWriter, RespectsTheUmask) {
  const TemporaryFolder folder;
  const mode_t before = ::umask(027);
  FileWriter(folder / "f").finish();
  ::umask(before);
  EXPECT_EQ(fs::status(folder / "f").permissions(), fs::perms(0640));
}

TEST(FileWriter, UnfinishedLeavesNothing) {
  const TemporaryFolder folder;
  {
    FileWriter file(folder / "f");
    file.write(text);
    EXPECT_EQ(test::files_in(folder.path()), 1U);
  }
  EXPECT_EQ(test::files_in(folder.path()), 0U);
}

TEST(FileWriter, NeverTakesAnExistingFile) {
  const TemporaryFolder folder;
  test::put(folder / "f", "theirs");
  const Error error = error_of([&] { FileWriter file(folder / "f"); });
  EXPECT_EQ(error.kind(), ErrorKind::storage);
  EXPECT_THAT(error.message(), HasSubstr((folder / "f").native()));
  EXPECT_THAT(error.hint(), HasSubstr("another name"));
  EXPECT_EQ(test::contents_of(folder / "f"), "theirs");
  fs::create_symlink(folder / "elsewhere", folder / "link");
  EXPECT_EQ(error_of([&] { FileWriter file(folder / "link"); }).kind(), ErrorKind::storage);
  EXPECT_FALSE(fs::exists(folder / "elsewhere"));
}

TEST(FileWriter, NamesAFolderThatIsMissing) {
  const TemporaryFolder folder;
  const Error error = error_of([&] { FileWriter file(folder / "none" / "f"); });
  EXPECT_EQ(error.kind(), ErrorKind::storage);
  EXPECT_THAT(error.message(), HasSubstr("none/f: cannot be made: No such file or directory"));
}

TEST(FileWriter, FullDiskNamesWhatIsNeededAndFree) {
  const TemporaryFolder folder;
  {
    FileWriter file(folder / "f", 1000);
    file.write(std::string(100, 'x'));
    const FaultScope fault(test::write_enospc);
    const Error error = error_of([&] { file.write(std::string(50, 'x')); });
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    EXPECT_THAT(error.message(), HasSubstr((folder / "f").native()));
    EXPECT_THAT(error.message(), HasSubstr("No space left on device; 900 more bytes are needed, "));
    EXPECT_THAT(error.message(), testing::EndsWith(" are free"));
    EXPECT_THAT(error.hint(), HasSubstr("free space"));
    EXPECT_EQ(test::files_in(folder.path()), 0U) << "the partial file is removed at once";
    EXPECT_EQ(error_of([&] { file.write("more"); }).kind(), ErrorKind::unexpected);
    EXPECT_EQ(error_of([&] { file.finish(); }).kind(), ErrorKind::unexpected);
  }
  EXPECT_EQ(test::files_in(folder.path()), 0U);
}

TEST(FileWriter, AFailedSyncLeavesNothing) {
  const TemporaryFolder folder;
  for (const long step : {test::fsync_eio, test::fsync_enospc, test::write_eio}) {
    const FaultScope fault(step);
    const Error error = error_of([&] {
      FileWriter file(folder / "f");
      file.write("x");
      file.finish();
    });
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    EXPECT_THAT(error.message(), HasSubstr((folder / "f").native()));
    EXPECT_THAT(error.message(), HasSubstr(step == test::write_eio ? "write" : "fsync"));
    EXPECT_EQ(test::files_in(folder.path()), 0U);
  }
}

TEST(FileWriter, TheLimitOfFileSizesIsAnError) {
  const TemporaryFolder folder;
  struct sigaction ignore {
  }, old_action{};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGXFSZ, &ignore, &old_action);
  rlimit old_limit{};
  ::getrlimit(RLIMIT_FSIZE, &old_limit);
  rlimit limit = old_limit;
  limit.rlim_cur = 1'500'000;  // reached in the middle of a piece: a short write comes first
  ::setrlimit(RLIMIT_FSIZE, &limit);
  const Error error = error_of([&] { FileWriter(folder / "f").write(text); });
  ::setrlimit(RLIMIT_FSIZE, &old_limit);
  ::sigaction(SIGXFSZ, &old_action, nullptr);
  EXPECT_EQ(error.kind(), ErrorKind::storage);
  EXPECT_THAT(error.message(), HasSubstr("2000000 more bytes are needed"));
  EXPECT_THAT(error.hint(), HasSubstr("ulimit -f"));
  EXPECT_EQ(test::files_in(folder.path()), 0U);
}

TEST(FileWriter, AFullFileSystemAtEverySize) {
  const TemporaryFolder folder;
  const fs::path mounted = folder / "small";
  fs::create_directory(mounted);
  if (::mount("tmpfs", mounted.c_str(), "tmpfs", 0, "size=64k") != 0)
    GTEST_SKIP() << "namespaces refused";
  int full = 0;
  for (size_t size = 16 << 10; size <= (96 << 10); size += 4096) {
    try {
      FileWriter file(mounted / "f");
      file.write(std::string(size, 'x'));
      file.finish();
      EXPECT_LE(size, size_t{64 << 10});
      fs::remove(mounted / "f");
    } catch (const Error& error) {
      ++full;
      EXPECT_GT(size, size_t{60 << 10});
      EXPECT_EQ(error.kind(), ErrorKind::storage);
      EXPECT_THAT(error.message(), HasSubstr("No space left on device"));
    }
    EXPECT_EQ(test::files_in(mounted), 0U) << size;
  }
  ::umount(mounted.c_str());
  EXPECT_GT(full, 7);
}

int calls = 0;
ssize_t three_bytes_and_interruptions(int, const void*, size_t bytes) {
  if (++calls % 2 == 0) {
    errno = EINTR;
    return -1;
  }
  return static_cast<ssize_t>(std::min<size_t>(bytes, 3));
}
ssize_t nothing(int, const void*, size_t) {
  return 0;
}
ssize_t quota_after_three(int, const void*, size_t) {
  errno = EDQUOT;
  return ++calls == 1 ? 3 : -1;
}

TEST(WriteAll, GoesOnAfterShortWritesAndInterruptions) {
  calls = 0;
  const WriteResult result = write_all(-1, "0123456789", 10, three_bytes_and_interruptions);
  EXPECT_EQ(result.error, 0);
  EXPECT_EQ(result.written, 10U);
  EXPECT_EQ(calls, 7);
}

TEST(WriteAll, TellsWhatIsWrittenWhenItFails) {
  calls = 0;
  const WriteResult result = write_all(-1, "0123456789", 10, quota_after_three);
  EXPECT_EQ(result.error, EDQUOT);
  EXPECT_EQ(result.written, 3U);
  EXPECT_EQ(write_all(-1, "x", 1, nothing).error, EIO) << "no endless loop";
  EXPECT_EQ(write_all(-1, "", 0, nothing).error, 0);
}

}  // namespace
}  // namespace trireme::storage
