#pragma once

#include <trireme/report/trace.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>
#include <zlib.h>

// Traces for tests: made up, written, and read again by zlib and a parser of JSON.
namespace trireme::report {

/// A folder of the running test, removed at the end.
class TraceFolder {
 public:
  TraceFolder()
      : path_(std::filesystem::path(testing::TempDir()) /
              (std::string("trace_") +
               testing::UnitTest::GetInstance()->current_test_info()->name() + "_" +
               std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~TraceFolder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const {
    return path_ / name;
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      all.push_back(entry.path().filename());
    return all;
  }

 private:
  std::filesystem::path path_;
};

inline std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Of a gzip file of exactly one member.
inline std::string unpacked(const std::string& packed) {
  z_stream z{};
  EXPECT_EQ(inflateInit2(&z, 15 + 16), Z_OK);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  z.avail_in = static_cast<uInt>(packed.size());
  std::string text, piece(1 << 20, '\0');
  int result = Z_OK;
  while (result == Z_OK) {
    z.next_out = reinterpret_cast<Bytef*>(piece.data());
    z.avail_out = static_cast<uInt>(piece.size());
    result = inflate(&z, Z_NO_FLUSH);
    text.append(piece.data(), piece.size() - z.avail_out);
  }
  EXPECT_EQ(result, Z_STREAM_END) << (z.msg == nullptr ? "" : z.msg);
  EXPECT_EQ(z.avail_in, 0U) << "something follows the first member";
  inflateEnd(&z);
  return text;
}

inline nlohmann::json read_trace(const std::filesystem::path& path) {
  return nlohmann::json::parse(unpacked(bytes_of(path)));
}

inline std::vector<nlohmann::json> events_of(const nlohmann::json& trace, char phase,
                                             const std::string& category = "") {
  std::vector<nlohmann::json> events;
  for (const auto& event : trace.at("traceEvents"))
    if (event.at("ph") == std::string(1, phase) &&
        (category.empty() || event.value("cat", "") == category))
      events.push_back(event);
  return events;
}

/// Two steps of a rank with phases, operators, a kernel and a collective each. Its clock is `ahead`
/// of rank 0's.
inline TracePart training_part(int rank, int ranks, int64_t ahead = 0) {
  TracePart part;
  part.host = "node" + std::to_string(rank / 2);
  part.pid = 4000 + rank;
  part.thread_names = {"main", "loader 0"};
  part.operator_thread = 0;
  part.clock_at_begin = {.at_ns = ahead, .offset_ns = -ahead, .uncertainty_ns = 20};
  part.clock_at_end = part.clock_at_begin;
  part.operators.strings = {"",           "aten::mm",    "[[64, 128], [128, 32]]",
                            "main.cpp:7", "gemm_kernel", "cudaLaunchKernel",
                            "Memcpy HtoD"};
  using Kind = telemetry::OperatorEvent::Kind;
  using telemetry::Category;
  for (int64_t step = 5; step < 7; ++step) {
    const int64_t t = ahead + 1'000'000'000 + step * 1'000'000 + rank * 1000;
    part.step_times.emplace_back(step, t);
    part.steps.push_back({.step = step, .seconds = 0.0009, .memory = {.allocated = 1 << 20}});
    part.spans.push_back({.name = "read",
                          .start_ns = t - 50,
                          .duration_ns = 200'000,
                          .step = step,
                          .thread = 1,
                          .category = Category::data_loading});
    part.spans.push_back({.name = "forward",
                          .start_ns = t + 100,
                          .duration_ns = 400'000,
                          .step = step,
                          .category = Category::forward_pass});
    part.spans.push_back({.name = "all_reduce",
                          .start_ns = t + 500'000,
                          .duration_ns = 200'000,
                          .step = step,
                          .category = Category::communication,
                          .bytes = 4096,
                          .sequence = step,
                          .group = "world",
                          .group_rank = rank,
                          .group_size = ranks});
    const int64_t launch = 100 * step + 1;
    part.operators.events.push_back({.name = 1,
                                     .shapes = 2,
                                     .stack = 3,
                                     .kind = Kind::operation,
                                     .start_ns = t + 1000,
                                     .duration_ns = 100'000,
                                     .step = step,
                                     .flops = 524288,
                                     .bytes = 8192});
    part.operators.events.push_back({.name = 5,
                                     .kind = Kind::runtime,
                                     .start_ns = t + 2000,
                                     .duration_ns = 5000,
                                     .step = step,
                                     .correlation = launch});
    part.operators.events.push_back({.name = 4,
                                     .kind = Kind::kernel,
                                     .thread = 7,
                                     .device = 0,
                                     .start_ns = t + 9000,
                                     .duration_ns = 60'000,
                                     .step = step,
                                     .correlation = launch});
    part.operators.events.push_back(
        {.kind = Kind::memory, .start_ns = t + 1500, .step = step, .bytes = 512});
  }
  return part;
}

}  // namespace trireme::report
