#include <trireme/storage/durable.h>

#include "unit/storage/faults.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::storage {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::FaultScope;
using test::TemporaryFolder;

TEST(ReplaceFile, MakesAndReplaces) {
  const TemporaryFolder folder;
  replace_file(folder / "f", "one");
  EXPECT_EQ(test::contents_of(folder / "f"), "one");
  replace_file(folder / "f", "");
  EXPECT_EQ(test::contents_of(folder / "f"), "");
  EXPECT_EQ(test::files_in(folder.path()), 1U);
}

TEST(ReplaceFile, WorksInTheCurrentFolder) {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  replace_file("f", "one");
  fs::current_path(before);
  EXPECT_EQ(test::contents_of(folder / "f"), "one");
}

TEST(ReplaceFile, AFailureLeavesTheOldContentsAlone) {
  const TemporaryFolder folder;
  replace_file(folder / "f", "old");
  for (const long step : {test::write_enospc, test::write_eio, test::fsync_eio, test::rename_eio}) {
    const FaultScope fault(step);
    const Error error = error_of([&] { replace_file(folder / "f", "new"); });
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    EXPECT_THAT(error.message(), testing::HasSubstr((folder / "f").native()));
    EXPECT_EQ(test::contents_of(folder / "f"), "old");
    EXPECT_EQ(test::files_in(folder.path()), 1U);
  }
}

TEST(RenameFolder, GivesTheName) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "a");
  test::put(folder / "a" / "f", "new");
  EXPECT_FALSE(rename_folder(folder / "a", folder / "b"));
  EXPECT_EQ(test::contents_of(folder / "b" / "f"), "new");
  EXPECT_FALSE(fs::exists(folder / "a"));
}

TEST(RenameFolder, ExchangesWithAFolderOfThatName) {
  const TemporaryFolder folder;
  for (const std::string name : {"a", "b"}) {
    fs::create_directory(folder / name);
    test::put(folder / name / "f", name);
  }
  EXPECT_TRUE(rename_folder(folder / "a", folder / "b"));
  EXPECT_EQ(test::contents_of(folder / "b" / "f"), "a");
  EXPECT_EQ(test::contents_of(folder / "a" / "f"), "b");
  EXPECT_EQ(test::files_in(folder.path()), 2U);
}

TEST(RenameFolder, AFailureIsAnErrorAndChangesNothing) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "a");
  test::put(folder / "a" / "f", "a");
  for (const bool exists : {false, true}) {
    if (exists) fs::create_directory(folder / "b");
    for (const long step : {test::rename_eio, test::fsync_eio}) {
      const FaultScope fault(step);
      EXPECT_EQ(error_of([&] { rename_folder(folder / "a", folder / "b"); }).kind(),
                ErrorKind::storage);
      EXPECT_EQ(test::contents_of(folder / "a" / "f"), "a");
      EXPECT_EQ(fs::exists(folder / "b"), exists);
      EXPECT_EQ(test::files_in(folder.path()), exists ? 2U : 1U);
    }
  }
}

TEST(Directories, AreMadeAndSynced) {
  const TemporaryFolder folder;
  make_directories(folder / "a" / "b");
  make_directories(folder / "a" / "b");
  sync_directory(folder / "a" / "b");
  test::put(folder / "file", "");
  EXPECT_EQ(error_of([&] { make_directories(folder / "file"); }).kind(), ErrorKind::storage);
  EXPECT_EQ(error_of([&] { make_directories(folder / "file" / "b"); }).kind(), ErrorKind::storage);
  EXPECT_EQ(error_of([&] { sync_directory(folder / "none"); }).kind(), ErrorKind::storage);
  const FaultScope fault(test::fsync_eio);
  EXPECT_EQ(error_of([&] { sync_directory(folder.path()); }).kind(), ErrorKind::storage);
}

TEST(FreeBytes, AreKnownWhereThePathExists) {
  EXPECT_GT(free_bytes(testing::TempDir()), 0);
  EXPECT_EQ(free_bytes("/no/such/path"), -1);
}

}  // namespace
}  // namespace trireme::storage
