#pragma once

#include <trireme/comm/thread.h>

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace trireme::test {

/// Runs `rank_main(r)` for r = 0 .. ranks-1, each on a thread, and rethrows what was thrown first.
/// `on_failure` is called with it before the others are awaited: it has to make sure that they do
/// not wait for the rank that left.
inline void spawn(int ranks, const std::function<void(int)>& rank_main,
                  const std::function<void(const Error&)>& on_failure) {
  std::mutex mutex;
  std::exception_ptr first;
  const auto fail = [&](const Error& reason) {
    const std::lock_guard lock(mutex);
    if (first != nullptr) return;
    first = std::current_exception();
    on_failure(reason);
  };
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      try {
        rank_main(r);
      } catch (const Error& error) {
        fail(error);
      } catch (const std::exception& error) {
        fail(Error(ErrorKind::unexpected, error.what()));
      } catch (...) {
        fail(Error(ErrorKind::unexpected, "rank " + std::to_string(r) + " threw"));
      }
    });
  for (std::thread& thread : threads) thread.join();
  if (first != nullptr) std::rethrow_exception(first);
}

/// N thread ranks, each with its communicator. An exception of one rank poisons all, so nobody
/// waits for it; the first is rethrown.
inline void spawn_ranks(int ranks, const std::function<void(comm::CommunicatorPtr)>& rank_main) {
  const auto all = comm::make_thread_communicators(ranks);
  spawn(
      ranks, [&](int r) { rank_main(all[static_cast<std::size_t>(r)]); },
      [&](const Error& reason) {
        for (const auto& communicator : all) communicator->poison(reason);
      });
}

/// The same with a world each. What a rank throws is not reported on its side channel: that is the
/// caller's to test.
inline void spawn_worlds(int ranks, const std::function<void(comm::World&)>& rank_main) {
  const auto worlds = comm::make_thread_worlds(ranks);
  spawn(
      ranks, [&](int r) { rank_main(*worlds[static_cast<std::size_t>(r)]); },
      [&](const Error& reason) {
        for (const auto& world : worlds) world->all()->poison(reason);
      });
}

}  // namespace trireme::test
