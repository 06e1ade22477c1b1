#include <trireme/storage/rotated_file.h>

#include "unit/storage/temporary_folder.h"

#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace trireme::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST(RotatedFile, PartsAreTheOldestFirst) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "lines.jsonl";
  EXPECT_THAT(rotated_parts(path), IsEmpty());
  RotatedFile file(path, {.bytes = 4, .files = 3});
  EXPECT_THAT(rotated_parts(path), IsEmpty()) << "made by the first line";
  for (const char* const line : {"a", "b", "c"}) file.append_line(line);
  EXPECT_THAT(rotated_parts(path), ElementsAre(path.string() + ".1", path));
  for (const char* const line : {"d", "e", "f", "g"}) file.append_line(line);
  std::vector<std::string> texts;
  for (const auto& part : rotated_parts(path)) texts.push_back(text_of(part));
  EXPECT_THAT(texts, ElementsAre("c\nd\n", "e\nf\n", "g\n")) << "the oldest is gone";
}

TEST(RotatedFile, ARotationThatWasCutOffLosesNothing) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "lines.jsonl";
  RotatedFile file(path, {.bytes = 4, .files = 4});
  for (const char* const line : {"a", "b", "c", "d", "e", "f"}) file.append_line(line);
  std::filesystem::rename(path.string() + ".2", path.string() + ".3");
  std::filesystem::rename(path.string() + ".1", path.string() + ".2");
  EXPECT_THAT(rotated_parts(path), ElementsAre(path.string() + ".3", path.string() + ".2", path));
  for (const char* const line : {"g", "h"}) file.append_line(line);
  std::vector<std::string> texts;
  for (const auto& part : rotated_parts(path)) texts.push_back(text_of(part));
  EXPECT_THAT(texts, ElementsAre("a\nb\n", "c\nd\n", "e\nf\n", "g\nh\n"));
}

TEST(RotatedFile, ALineThatIsTooLongHasAFileOfItsOwn) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "lines.jsonl";
  RotatedFile file(path, {.bytes = 4, .files = 2});
  for (const char* const line : {"a", "much too long", "b"}) file.append_line(line);
  EXPECT_EQ(text_of(path), "b\n");
  EXPECT_EQ(text_of(path.string() + ".1"), "much too long\n");
}

}  // namespace
}  // namespace trireme::storage
