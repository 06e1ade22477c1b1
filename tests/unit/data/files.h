#pragma once

#include <trireme/core/error.h>

#include "data/data_file.h"
#include "data/hdf5_file.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

namespace trireme::data::testing {

/// A folder of the test's own, removed with all in it.
class Folder {
 public:
  Folder() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::path(::testing::TempDir()) /
            (std::string("trireme-data-") + test->test_suite_name() + "-" + test->name() + "-" +
             std::to_string(::getpid()));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string file(const std::string& name) const { return (path_ / name).string(); }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }

 private:
  std::filesystem::path path_;
};

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void spill(const std::string& path, const std::string& content) {
  std::ofstream out(path, std::ios::binary);
  out << content;
}

template <class T>
std::string bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// Runs `work` and returns the Error it throws.
inline Error error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error was thrown";
  return Error(ErrorKind::unexpected, "none");
}

struct TokenFileSpec {
  int64_t count = 1000;
  int64_t vocabulary = 256;
  Element element = Element::u16;
  int compress = 0;
  bool mask = false;
};

/// Token i of such a file.
inline uint32_t token_at(int64_t i, int64_t vocabulary) {
  return static_cast<uint32_t>((i * 7 + i / 13) % vocabulary);
}

template <class T>
void append_tokens(Hdf5Writer& writer, size_t dataset, int64_t count, int64_t vocabulary) {
  std::vector<T> tokens(static_cast<size_t>(count));
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<T>(token_at(static_cast<int64_t>(i), vocabulary));
  writer.append(dataset, tokens.data(), count);
}

inline void write_token_file(const std::string& path, const TokenFileSpec& spec = {}) {
  Hdf5Writer writer(path);
  const size_t tokens = writer.create("tokens", spec.element, {spec.count}, spec.compress);
  writer.attribute(tokens, {"vocab_size", spec.vocabulary});
  if (spec.element == Element::u8)
    append_tokens<uint8_t>(writer, tokens, spec.count, spec.vocabulary);
  if (spec.element == Element::u16)
    append_tokens<uint16_t>(writer, tokens, spec.count, spec.vocabulary);
  if (spec.element == Element::u32)
    append_tokens<uint32_t>(writer, tokens, spec.count, spec.vocabulary);
  if (spec.mask) {
    std::vector<uint8_t> mask(static_cast<size_t>(spec.count));
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = i % 3 != 0;
    writer.append(writer.create("loss_mask", Element::u8, {spec.count}, spec.compress), mask.data(),
                  spec.count);
  }
  writer.finish();
}

/// `image` uint8 [n, 3, 4, 5] (pixel p of sample s is (s * 31 + p) mod 256) and `label` uint8 [n].
inline void write_image_file(const std::string& path, int64_t n, int compress = 0,
                             int64_t first = 0) {
  Hdf5Writer writer(path);
  std::vector<uint8_t> pixels;
  std::vector<uint8_t> labels;
  for (int64_t s = first; s < first + n; ++s) {
    for (int64_t p = 0; p < 60; ++p) pixels.push_back(static_cast<uint8_t>(s * 31 + p));
    labels.push_back(static_cast<uint8_t>(s % 10));
  }
  writer.append(writer.create("image", Element::u8, {n, 3, 4, 5}, compress), pixels.data(), n);
  const size_t label = writer.create("label", Element::u8, {n}, compress);
  writer.attribute(label, {"classes", int64_t{10}});
  writer.append(label, labels.data(), n);
  writer.finish();
}

/// The contents of a dataset of a file.
template <class T>
inline std::vector<T> contents(const std::string& path, const std::string& name) {
  const auto file = DataFile::open(path);
  const Column& column = file->at(name);
  EXPECT_EQ(static_cast<size_t>(bytes_of(column.description().element)), sizeof(T));
  std::vector<std::byte> scratch;
  const auto rows = column.description().rows();
  std::vector<T> values(static_cast<size_t>(rows * column.description().row_elements()));
  std::memcpy(values.data(), column.rows(0, rows, scratch), values.size() * sizeof(T));
  return values;
}

}  // namespace trireme::data::testing
