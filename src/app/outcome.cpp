#include "app/outcome.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include <new>
#include <thread>

#include <c10/util/Exception.h>

#include <trireme/core/log.h>
#include <trireme/report/exit_record.h>

namespace trireme::app {
namespace {

comm::Failure failure_of(const comm::World& world, const Error& error, int64_t step) {
  return {.kind = error.kind(),
          .rank = world.rank(),
          .host = world.ranks()[static_cast<size_t>(world.rank())].host,
          .step = step,
          .message = error.message(),
          .hint = error.hint()};
}

/// Everyone ends here after a failure. Nothing may throw.
[[noreturn]] void leave(comm::World& world, ExitFile exit_file, const Error& error) noexcept {
  constexpr double verdict_seconds = 1.5, leave_seconds = 2.0;
  comm::Failure verdict = failure_of(world, error, exit_file.step);
  try {
    world.side_channel().report(verdict);
    if (const auto agreed = world.side_channel().verdict(verdict_seconds)) verdict = *agreed;
    // The rank it happened on speaks for itself, even if rank 0 is stuck; the first survivor speaks for one that is lost.
    const bool own = verdict.rank == world.rank();
    const bool first = world.side_channel().first_survivor() == world.rank();
    bool wrote = false;
    if (own || (first && verdict.kind == ErrorKind::peer_lost)) print_error(Error(verdict.kind, verdict.message, verdict.hint));
    if (own || first) {
      if (!exit_file.run_dir.empty()) {
        try {
          report::write_exit_record(exit_file.run_dir, verdict);
          wrote = true;
        } catch (const std::exception& e) {
          log::error("exit.json could not be written: {}", e.what());
        }
      }
    }
    world.side_channel().leave_together(wrote, leave_seconds);
    exit_file.lock.reset();
    log::flush();
  } catch (...) {
    std::fputs("trireme: a second failure while leaving\n", stderr);
  }
  std::fflush(nullptr);
  std::_Exit(static_cast<int>(verdict.kind));
}

}  // namespace

int launched_rank() noexcept {
  try {
    return comm::detect_launch().rank;
  } catch (...) {
    return 0;  // contradictory variables: the rank is unknown, somebody has to speak
  }
}

void print_error(const Error& error) {
  log::error("{} ({}, exit code {})", error.message(), core::name_of(error.kind()), static_cast<int>(error.kind()));
  if (!error.hint().empty()) log::error("hint: {}", error.hint());
}

void print_before_world(const Error& error) {
  const int rank = launched_rank();
  if (rank == 0) return print_error(error);
  std::this_thread::sleep_for(std::chrono::seconds(5));
  log::error("rank {}: {} (exit code {})", rank, error.message(), static_cast<int>(error.kind()));
}

Error error_in_flight() {
  try {
    throw;
  } catch (const Error& e) {
    return e;
  } catch (const std::bad_alloc&) {
    return {ErrorKind::out_of_memory, "the process ran out of memory", "use a smaller train.batch_size with train.global_batch kept"};
  } catch (const c10::OutOfMemoryError& e) {
    return {ErrorKind::out_of_memory, e.what_without_backtrace(), "use a smaller train.batch_size with train.global_batch kept"};
  } catch (const c10::Error& e) {
    const std::string text = e.what_without_backtrace();
    if (text.find("not enough memory") != std::string::npos)
      return {ErrorKind::out_of_memory, text, "use a smaller train.batch_size with train.global_batch kept"};
    return {ErrorKind::unexpected, "LibTorch: " + text};
  } catch (const std::exception& e) {
    return {ErrorKind::unexpected, e.what()};
  } catch (...) {
    return {ErrorKind::unexpected, "an exception of unknown type"};
  }
}

int run_in_world(comm::World& world, const std::function<int()>& body, const std::function<ExitFile()>& exit_file) {
  try {
    const int code = body();
    world.finalize();
    return code;
  } catch (...) {
    leave(world, exit_file(), error_in_flight());
  }
}

}  // namespace trireme::app
