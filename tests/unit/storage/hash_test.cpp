#include <trireme/storage/hash.h>

#include <string>

#include <gtest/gtest.h>

namespace trireme::storage {
namespace {

TEST(Hash, IsXxh3OfTheReferenceImplementation) {
  // `printf '' | xxh128sum` of xxHash 0.8.
  EXPECT_EQ(hash_of(std::string_view()).hex(), "99aa06d3014798d86001c324468d497f");
}

TEST(Hash, DoesNotDependOnTheCuts) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * 37 % 251);
  for (const size_t cut : {size_t{0}, size_t{1}, size_t{240}, size_t{1024}, text.size()}) {
    Hasher hasher;
    hasher.update(text.substr(0, cut));
    hasher.update(text.substr(cut));
    EXPECT_EQ(hasher.digest(), hash_of(text)) << cut;
    EXPECT_EQ(hasher.digest(), hash_of(text)) << "again";
  }
}

TEST(Hash, HexGoesBothWays) {
  const Hash128 hash = hash_of(std::string_view("x"));
  EXPECT_EQ(Hash128::from_hex(hash.hex()), hash);
  for (const std::string bad :
       {"", "0", "99aa06d3014798d86001c324468d497", "99aa06d3014798d86001c324468d497ff",
        "99AA06d3014798d86001c324468d497f", "+9aa06d3014798d86001c324468d497f",
        "99aa06d3014798d8 001c324468d497f", "gg aa06d3014798d86001c324468d497"})
    EXPECT_FALSE(Hash128::from_hex(bad)) << bad;
}

}  // namespace
}  // namespace trireme::storage
