#include <trireme/core/error.h>
#include <trireme/storage/file_writer.h>
#include <trireme/storage/read_back.h>

#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace trireme::storage {
namespace {

TEST(ReadBack, IsTheHashOfWhatWasWritten) {
  const test::TemporaryFolder folder;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{1} << 20, (size_t{1} << 20) + 7}) {
    const std::filesystem::path path = folder / std::to_string(bytes);
    FileWriter file(path);
    file.write(std::string(bytes, 'x'));
    file.finish();
    EXPECT_EQ(read_back(path), file.hash()) << bytes;
  }
}

TEST(ReadBack, SeesAFlippedByte) {
  const test::TemporaryFolder folder;
  FileWriter file(folder / "f");
  file.write(std::string(5000, 'x'));
  file.finish();
  std::fstream(folder / "f", std::ios::in | std::ios::out).seekp(4000).put('y');
  EXPECT_NE(read_back(folder / "f"), file.hash());
}

TEST(ReadBack, NamesWhatCannotBeRead) {
  const test::TemporaryFolder folder;
  const Error error = test::error_of([&] { (void)read_back(folder / "none"); });
  EXPECT_EQ(error.kind(), ErrorKind::storage);
  EXPECT_NE(error.message().find("none"), std::string::npos);
}

}  // namespace
}  // namespace trireme::storage
