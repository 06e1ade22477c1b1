#include <trireme/storage/safetensors.h>
#include <trireme/storage/safetensors_writer.h>

#include "unit/storage/faults.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace trireme::storage {
namespace {

using test::error_of;
using test::TemporaryFolder;
using testing::HasSubstr;

const std::vector<at::ScalarType> types{at::kDouble, at::kFloat, at::kHalf,   at::kBFloat16,
                                        at::kLong,   at::kInt,   at::kShort,  at::kChar,
                                        at::kByte,   at::kBool,  at::kUInt16, at::kUInt32};

at::Tensor values(at::ScalarType type, at::IntArrayRef shape) {
  const at::Tensor bytes =
      at::arange(at::empty(shape, type).nbytes(), at::kByte).remainder(type == at::kBool ? 2 : 127);
  at::Tensor tensor = at::empty(shape, type);
  std::copy_n(static_cast<const char*>(bytes.data_ptr()), tensor.nbytes(),
              static_cast<char*>(tensor.data_ptr()));
  return tensor;
}

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         (a.numel() == 0 || std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0);
}

TEST(Safetensors, GivesBackWhatWasWritten) {
  const TemporaryFolder folder;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto type : types) {
    const std::string name = "t." + std::string(c10::toString(type)) + " \"\xc3\xa4\"";
    tensors.emplace_back(name, values(type, {3, 5}));
    tensors.emplace_back(name + ".scalar", values(type, {}));
    tensors.emplace_back(name + ".empty", values(type, {2, 0, 3}));
  }
  write_safetensors(folder / "f", tensors, {{"origin", "test"}});
  const SafetensorsFile file(folder / "f");
  EXPECT_EQ(file.entries().size(), tensors.size());
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().at("origin"), "test");
  EXPECT_EQ(file.find("none"), nullptr);
  EXPECT_EQ(file.header_bytes() % 8, 0);
  for (const auto& [name, tensor] : tensors) {
    const SafetensorsEntry* entry = file.find(name);
    ASSERT_NE(entry, nullptr) << name;
    EXPECT_EQ((file.header_bytes() + entry->begin) % static_cast<int64_t>(tensor.itemsize()), 0)
        << "readers that map the file find it aligned";
    EXPECT_TRUE(same_bytes(file.values(*entry), tensor)) << name;
  }
}

TEST(Safetensors, StridedTensorsAndParametersAreWritten) {
  const TemporaryFolder folder;
  const at::Tensor tensor = at::arange(12, at::kFloat).view({3, 4}).t().requires_grad_(true);
  write_safetensors(folder / "f", {{"a", tensor}});
  const SafetensorsFile file(folder / "f");
  EXPECT_TRUE(at::equal(file.values(file.entries()[0]), tensor.detach()));
}

TEST(Safetensors, MisalignedTensorsAreRead) {
  const TemporaryFolder folder;
  const std::string json =
      R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"F32","shape":[2],"data_offsets":[3,11]}})";
  std::string file_text(8, '\0');
  file_text[0] = static_cast<char>(json.size());
  const float two[2] = {1.5F, -2.0F};
  file_text += json + "abc" + std::string(reinterpret_cast<const char*>(two), 8);
  test::put(folder / "f", file_text);
  const SafetensorsFile file(folder / "f");
  EXPECT_TRUE(at::equal(file.values(*file.find("b")), at::tensor({1.5F, -2.0F})));
}

TEST(Safetensors, HashesAreOfTheBytesInTheFile) {
  const TemporaryFolder folder;
  SafetensorsWriter writer(folder / "f", {{"b", at::kFloat, {2}}, {"a", at::kFloat, {3}}});
  ASSERT_EQ(writer.entries().size(), 2U);
  EXPECT_EQ(writer.entries()[0].name, "a");
  const Hash128 a = writer.write(at::ones({3}));
  writer.write(at::zeros({2}));
  writer.finish();
  const SafetensorsFile file(folder / "f");
  std::vector<std::byte> bytes(12);
  file.read(*file.find("a"), 0, bytes);
  EXPECT_EQ(a, hash_of(bytes));
  const std::string whole = test::contents_of(folder / "f");
  EXPECT_EQ(writer.header_hash(),
            hash_of(std::string_view(whole).substr(0, static_cast<size_t>(file.header_bytes()))));
  EXPECT_EQ(writer.header_hash(), file.header_hash());
  EXPECT_EQ(writer.hash(), hash_of(whole));
  EXPECT_EQ(writer.bytes(), file.file_bytes());
}

TEST(Safetensors, TheWriterHoldsToItsPlan) {
  const TemporaryFolder folder;
  const auto broken = [&](const auto& act) {
    SafetensorsWriter writer(folder / "f", {{"a", at::kFloat, {2, 2}}});
    EXPECT_EQ(error_of([&] { act(writer); }).kind(), ErrorKind::unexpected);
  };
  broken([](auto& w) { w.write(at::ones({4})); });
  broken([](auto& w) { w.write(at::ones({2, 2}, at::kDouble)); });
  broken([](auto& w) { w.write(at::ones({2, 4}).narrow(1, 0, 2)); });
  broken([](auto& w) { w.finish(); });
  broken([](auto& w) {
    w.write(at::ones({2, 2}));
    w.write(at::ones({2, 2}));
  });
  EXPECT_EQ(test::files_in(folder.path()), 0U);
}

TEST(Safetensors, RefusesWhatTheFormatCannotHold) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::vector<TensorSpec>& specs, const std::string& reason) {
    const Error error = error_of([&] { SafetensorsWriter writer(folder / "f", specs); });
    EXPECT_EQ(error.kind(), ErrorKind::model_refused);
    EXPECT_THAT(error.message(), HasSubstr(reason));
  };
  refused({{"a", at::kFloat, {1}}, {"b", at::kInt, {}}, {"a", at::kFloat, {1}}},
          "'a' is given twice");
  refused({{"a", at::kComplexDouble, {1}}}, "no type for ComplexDouble");
  refused({{"__metadata__", at::kFloat, {1}}}, "__metadata__");
  refused({{"a\xff", at::kFloat, {1}}}, "UTF-8");
  EXPECT_EQ(test::files_in(folder.path()), 0U);
}

TEST(Safetensors, AFullDiskLeavesNoFile) {
  const TemporaryFolder folder;
  const test::FaultScope fault(test::write_enospc);
  EXPECT_EQ(error_of([&] {
              write_safetensors(folder / "f", {{"a", at::ones({4})}});
            }).kind(),
            ErrorKind::storage);
  EXPECT_EQ(test::files_in(folder.path()), 0U);
}

TEST(Safetensors, DamagedFilesAreNamed) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& contents, const std::string& reason) {
    test::put(folder / "f", contents);
    for (const ErrorKind kind : {ErrorKind::model_refused, ErrorKind::data_damaged}) {
      const Error error = error_of([&] { SafetensorsFile file(folder / "f", kind); });
      EXPECT_EQ(error.kind(), kind);
      EXPECT_THAT(error.message(), HasSubstr((folder / "f").native()));
      EXPECT_THAT(error.message(), HasSubstr(reason));
    }
  };
  refused("", "too few");
  refused("1234567", "too few");
  refused(std::string("\x10\0\0\0\0\0\0\0", 8), "needs 16 bytes and the file has 0");
  refused(std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10), "100000001 bytes is too large");
  refused(std::string(8, '\xff') + "{}", "too large");
  refused(std::string("\0\0\0\0\0\0\0\0", 8), "not a JSON object");
  EXPECT_EQ(error_of([&] { SafetensorsFile file(folder / "none"); }).kind(),
            ErrorKind::input_missing);
  EXPECT_EQ(error_of([&] { SafetensorsFile file(folder.path()); }).kind(),
            ErrorKind::input_missing);
}

TEST(Safetensors, PartsOfATensorAreRead) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"a", at::arange(8, at::kByte)}, {"b", at::ones({9})}});
  const SafetensorsFile file(folder / "f");
  std::vector<std::byte> part(3);
  file.read(*file.find("a"), 5, part);
  EXPECT_EQ(part, (std::vector{std::byte{5}, std::byte{6}, std::byte{7}}));
  EXPECT_EQ(error_of([&] { file.read(*file.find("a"), 6, part); }).kind(), ErrorKind::unexpected);
}

TEST(Safetensors, WhatBecomesTooShortOrFailsIsAnErrorNotASignal) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {{"a", at::ones({5000})}});
  const SafetensorsFile file(folder / "f", ErrorKind::data_damaged);
  {
    const test::FaultScope fault(test::read_eio);
    const Error error = error_of([&] { (void)file.values(file.entries()[0]); });
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    EXPECT_THAT(error.message(), HasSubstr((folder / "f").native() + ": read: Input/output"));
  }
  std::filesystem::resize_file(folder / "f", 4096);
  const Error error = error_of([&] { (void)file.values(file.entries()[0]); });
  EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
  EXPECT_THAT(error.message(), HasSubstr((folder / "f").native() + ": tensor 'a': the file has"));
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const TemporaryFolder folder;
  write_safetensors(folder / "whole", {{"a", at::ones({4})}, {"b", at::ones({3}, at::kByte)}});
  const std::string whole = test::contents_of(folder / "whole");
  for (size_t size = 0; size < whole.size(); ++size) {
    test::put(folder / "f", whole.substr(0, size));
    EXPECT_EQ(error_of([&] { SafetensorsFile file(folder / "f"); }).kind(),
              ErrorKind::model_refused);
  }
  test::put(folder / "f", whole + "x");
  EXPECT_EQ(error_of([&] { SafetensorsFile file(folder / "f"); }).kind(), ErrorKind::model_refused);
}

}  // namespace
}  // namespace trireme::storage
