#include <trireme/core/error.h>
#include <trireme/storage/file_reader.h>

#include "unit/storage/faults.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <cstring>
#include <span>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace trireme::storage {
namespace {

using test::error_of;
using test::TemporaryFolder;

std::string numbers(size_t bytes) {
  std::string text(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 31 / 7);
  return text;
}

TEST(FileReader, ReadsAtPlacesUpToTheEnd) {
  const TemporaryFolder folder;
  const std::string whole = numbers(1000);
  test::put(folder / "f", whole);
  const FileReader file(folder / "f");
  EXPECT_EQ(file.bytes(), 1000);
  std::string part(100, '\0');
  const auto read = [&](int64_t from) {
    return file.read(from, std::as_writable_bytes(std::span(part)));
  };
  EXPECT_EQ(read(300), 100U);
  EXPECT_EQ(part, whole.substr(300, 100));
  EXPECT_EQ(read(0), 100U);
  EXPECT_EQ(part, whole.substr(0, 100));
  EXPECT_EQ(read(930), 70U);
  EXPECT_EQ(part.substr(0, 70), whole.substr(930));
  EXPECT_EQ(read(1000), 0U);
}

TEST(FileReader, HandsAllOfItOverInPieces) {
  const TemporaryFolder folder;
  for (const size_t bytes :
       {size_t{0}, size_t{1}, read_piece_bytes, 2 * read_piece_bytes, 2 * read_piece_bytes + 7}) {
    const std::string whole = numbers(bytes);
    test::put(folder / "f", whole);
    const FileReader file(folder / "f");
    std::string pieces;
    file.for_each_piece([&](std::span<const std::byte> piece) {
      EXPECT_LE(piece.size(), read_piece_bytes);
      pieces.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    });
    EXPECT_EQ(pieces, whole);
    EXPECT_EQ(file.text(), whole);
    EXPECT_EQ(file.hash(), hash_of(whole));
  }
}

TEST(FileReader, AFailingDiskIsAnErrorThatNamesTheFile) {
  const TemporaryFolder folder;
  test::put(folder / "f", "text");
  const FileReader file(folder / "f");
  const test::FaultScope fault(test::read_eio);
  const Error error = error_of([&] { (void)file.hash(); });
  EXPECT_EQ(error.kind(), ErrorKind::storage);
  EXPECT_EQ(error.message(), (folder / "f").native() + ": read: Input/output error");
  EXPECT_FALSE(error.hint().empty());
}

TEST(FileReader, TakesRegularFilesAlone) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const char* name : {"none", ".", "pipe"}) {
    const Error error = error_of([&] { FileReader file(folder / name); });
    EXPECT_EQ(error.kind(), ErrorKind::input_missing);
    EXPECT_THAT(error.message(), testing::HasSubstr((folder / name).native()));
  }
}

}  // namespace
}  // namespace trireme::storage
