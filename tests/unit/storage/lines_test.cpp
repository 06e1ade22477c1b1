#include <trireme/storage/append_file.h>
#include <trireme/storage/json_lines.h>

#include "unit/storage/faults.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <csignal>
#include <filesystem>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

namespace trireme::storage {
namespace {

using test::error_of;
using test::FaultScope;
using test::TemporaryFolder;

TEST(AppendFile, AddsLines) {
  const TemporaryFolder folder;
  {
    AppendFile file(folder / "f");
    file.append_line("one");
    file.append_line("two", AppendFile::Sync::now);
  }
  AppendFile file(folder / "f");
  AppendFile moved(std::move(file));
  moved.append_line("");
  moved.sync();
  EXPECT_EQ(test::contents_of(folder / "f"), "one\ntwo\n\n");
}

TEST(AppendFile, CutsATornLineAtEveryByte) {
  const TemporaryFolder folder;
  std::string whole = "{\"a\": 1}\n";
  whole.append(9000, 'x').append("\n{\"b\"}\n");
  for (size_t size = 0; size <= whole.size(); ++size) {
    if (size > 20 && size < 8990 && size % 500 != 0) continue;
    test::put(folder / "f", whole.substr(0, size));
    AppendFile file(folder / "f");
    const size_t end = whole.substr(0, size).rfind('\n');
    EXPECT_EQ(test::contents_of(folder / "f"),
              end == std::string::npos ? "" : whole.substr(0, end + 1))
        << size;
  }
}

TEST(AppendFile, AFailureLeavesWholeLines) {
  const TemporaryFolder folder;
  AppendFile file(folder / "f");
  file.append_line("one");
  {
    const FaultScope fault(test::write_enospc);
    EXPECT_EQ(error_of([&] { file.append_line("two"); }).kind(), ErrorKind::storage);
  }
  {
    const FaultScope fault(test::fsync_eio);
    EXPECT_EQ(error_of([&] { file.sync(); }).kind(), ErrorKind::storage);
  }
  file.append_line("three");
  EXPECT_EQ(test::contents_of(folder / "f"), "one\nthree\n");
  EXPECT_EQ(error_of([&] { AppendFile none(folder / "none" / "f"); }).kind(), ErrorKind::storage);
  EXPECT_EQ(error_of([&] { file.append_line("a\nb"); }).kind(), ErrorKind::unexpected);
}

/// Files of this process end at so many bytes while this lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGXFSZ, &ignore, &old_action_);
    ::getrlimit(RLIMIT_FSIZE, &old_limit_);
    const rlimit limit{bytes, old_limit_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_limit_);
    ::sigaction(SIGXFSZ, &old_action_, nullptr);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit old_limit_{};
  struct sigaction old_action_ {};
};

TEST(AppendFile, AHalfWrittenLineIsCutOff) {
  const TemporaryFolder folder;
  AppendFile file(folder / "f");
  file.append_line("one");
  {
    const FileSizeLimit limit(8);
    EXPECT_EQ(error_of([&] { file.append_line("too long"); }).kind(), ErrorKind::storage);
  }
  EXPECT_EQ(test::contents_of(folder / "f"), "one\n");
  file.append_line("three");
  EXPECT_EQ(test::contents_of(folder / "f"), "one\nthree\n");
}

TEST(AppendFile, WhereItCannotBeCutOffNothingFollowsIt) {
  const TemporaryFolder folder;
  AppendFile file(folder / "f");
  file.append_line("one");
  {
    const FaultScope no_cutting(test::truncate_eio);
    {
      const FileSizeLimit limit(8);
      EXPECT_EQ(error_of([&] { file.append_line("too long"); }).kind(), ErrorKind::storage);
    }
    EXPECT_EQ(test::contents_of(folder / "f"), "one\ntoo ");
    const Error error = error_of([&] { file.append_line("three"); });
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    EXPECT_NE(error.message().find("cannot be cut"), std::string::npos);
    EXPECT_EQ(test::contents_of(folder / "f"), "one\ntoo ");
  }
  AppendFile moved(std::move(file));
  moved.append_line("three");
  EXPECT_EQ(test::contents_of(folder / "f"), "one\nthree\n");
}

bool first_ten(const nlohmann::json& record) {
  return record.value("step", 0) <= 10;
}

TEST(TruncateJsonl, KeepsWhatHoldsByteForByte) {
  const TemporaryFolder folder;
  test::put(folder / "f",
            "{\"step\":  9, \"loss\": 1.50}\n{\"step\": 10}\n{\"step\": 11}\n{\"step\":3}\n");
  const TruncatedLines result = truncate_jsonl(folder / "f", first_ten);
  EXPECT_EQ(test::contents_of(folder / "f"),
            "{\"step\":  9, \"loss\": 1.50}\n{\"step\": 10}\n{\"step\":3}\n");
  EXPECT_EQ(result.kept, 3);
  EXPECT_EQ(result.removed, 1);
  EXPECT_EQ(result.damaged, 0);
  EXPECT_EQ(test::files_in(folder.path()), 1U);
}

TEST(TruncateJsonl, DropsTornAndDamagedLines) {
  const TemporaryFolder folder;
  const std::string whole = "{\"step\": 1}\n{\"step\": 2}\n";
  for (size_t size = 0; size <= whole.size(); ++size) {
    test::put(folder / "f", whole.substr(0, size));
    const TruncatedLines result = truncate_jsonl(folder / "f", first_ten);
    EXPECT_EQ(result.kept, size < 12 ? 0 : size < 24 ? 1 : 2) << size;
    EXPECT_EQ(result.damaged, size % 12 == 0 ? 0 : 1) << size;
    EXPECT_EQ(test::contents_of(folder / "f"), whole.substr(0, size / 12 * 12));
  }
  test::put(folder / "f", "{\"step\": 1}\n{\"ste\x01\xff\n\n{\"step\": 2}\n");
  EXPECT_EQ(truncate_jsonl(folder / "f", first_ten).damaged, 2);
  EXPECT_EQ(test::contents_of(folder / "f"), whole);
}

TEST(TruncateJsonl, TouchesNothingWithoutNeed) {
  const TemporaryFolder folder;
  EXPECT_EQ(truncate_jsonl(folder / "none", first_ten).kept, 0);
  EXPECT_FALSE(std::filesystem::exists(folder / "none"));
  test::put(folder / "f", "{\"step\": 1}\n");
  const FaultScope fault(test::write_eio);
  EXPECT_EQ(truncate_jsonl(folder / "f", first_ten).kept, 1);
  EXPECT_EQ(error_of([&] { truncate_jsonl(folder.path(), first_ten); }).kind(),
            ErrorKind::input_missing);
}

TEST(TruncateJsonl, AFailureLeavesTheFileAlone) {
  const TemporaryFolder folder;
  test::put(folder / "f", "{\"step\": 1}\n{\"step\": 11}\n");
  const FaultScope fault(test::fsync_eio);
  EXPECT_EQ(error_of([&] { truncate_jsonl(folder / "f", first_ten); }).kind(), ErrorKind::storage);
  EXPECT_EQ(test::contents_of(folder / "f"), "{\"step\": 1}\n{\"step\": 11}\n");
  EXPECT_EQ(test::files_in(folder.path()), 1U);
}

}  // namespace
}  // namespace trireme::storage
