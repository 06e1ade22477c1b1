// main of the tests that run under mpirun. Every rank runs every test; after each one the ranks
// agree whether it passed. A rank that leaves a test early cannot hang the others: their
// communicator has a deadline, and the whole test has one.

#include "support/mpi_world.h"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace trireme::test {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<comm::World> joined;

/// Ends the process if one test takes longer than any should.
class TestClock {
 public:
  TestClock() : thread_([this] { watch(); }) {}
  ~TestClock() {
    set("", true);
    thread_.join();
  }
  void set(std::string test, bool stop = false) {
    {
      const std::lock_guard lock(mutex_);
      test_ = std::move(test);
      stop_ = stop;
      ++changes_;
    }
    changed_.notify_all();
  }

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      const int seen = changes_;
      const bool over =
          !changed_.wait_for(lock, 60s, [&] { return changes_ != seen; }) && !test_.empty();
      if (!over) continue;
      std::fprintf(stderr, "[rank %d] %s has not ended within 60 s\n", joined->rank(),
                   test_.c_str());
      comm::abort_world(1);
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string test_;
  int changes_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

class RankReporter : public testing::EmptyTestEventListener {
 public:
  void OnTestStart(const testing::TestInfo& test) override { clock_.set(test.name()); }

  // No communication here: it is called at any place of a test, on one rank only.
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "[rank %d] %s:%d: %s\n", joined->rank(),
                 result.file_name() != nullptr ? result.file_name() : "?", result.line_number(),
                 result.message());
  }

  void OnTestEnd(const testing::TestInfo& test) override {
    try {
      const at::Tensor failures =
          at::full({1}, test.result()->Failed() ? 1 : 0, at::TensorOptions(at::kLong));
      joined->all()->all_reduce(failures)->wait();
      const auto failed_ranks = failures.item<int64_t>();
      failed_ = failed_ || failed_ranks > 0;
      if (failed_ranks > 0 && joined->rank() == 0)
        std::fprintf(stderr, "%s.%s failed on %ld of %d ranks\n", test.test_suite_name(),
                     test.name(), static_cast<long>(failed_ranks), joined->size());
    } catch (const std::exception& error) {
      std::fprintf(stderr, "[rank %d] the ranks lost each other in %s: %s\n", joined->rank(),
                   test.name(), error.what());
      comm::abort_world(1);
    }
    clock_.set("");
  }

  [[nodiscard]] bool failed() const { return failed_; }

 private:
  TestClock clock_;
  bool failed_ = false;
};

int run(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  joined = comm::join_world();
  joined->all()->set_deadline(50s);
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (joined->rank() != 0) delete listeners.Release(listeners.default_result_printer());
  auto* reporter = new RankReporter;  // owned by the listeners
  listeners.Append(reporter);
  const int own = RUN_ALL_TESTS();
  const int code = own != 0 || reporter->failed() ? 1 : 0;
  joined->finalize();
  joined.reset();
  return code;
}

}  // namespace

comm::World& world() {
  return *joined;
}

comm::CommunicatorPtr fresh_communicator() {
  auto fresh = joined->all()->split(0, joined->rank(), "test");
  fresh->set_deadline(20s);
  return fresh;
}

}  // namespace trireme::test

int main(int argc, char** argv) {
  try {
    return trireme::test::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    trireme::comm::abort_world(1);
  }
}
