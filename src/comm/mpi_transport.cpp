#include "comm/mpi_transport.h"

#include <trireme/core/error.h>

#include "comm/health.h"

#include <algorithm>
#include <string>
#include <utility>

// Without the C++ bindings that MPI-2 had, which would want a library of their own.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

namespace trireme::comm {
namespace {

void check_mpi(int result, const char* call) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw Error(ErrorKind::unexpected, std::string(call) + " failed: " + std::string(text));
}

Error lengths_differ(int peer, const std::string& detail) {
  return Error(
      ErrorKind::ranks_differ,
      "a message from world rank " + std::to_string(peer) + " has the wrong length: " + detail,
      "all ranks must call the same operations with the same sizes in the same order");
}

class MpiFlight final : public Flight {
 public:
  MpiFlight(MPI_Comm world, std::span<const Message> messages)
      : messages_(messages.begin(), messages.end()),
        requests_(messages.size(), MPI_REQUEST_NULL),
        statuses_(messages.size()) {
    // Receives first, so that what the peers sent early finds its place without a copy.
    for (const auto way : {Message::Way::receive, Message::Way::send})
      for (std::size_t i = 0; i < messages_.size(); ++i) {
        const Message& m = messages_[i];
        if (m.way != way) continue;
        const int bytes = static_cast<int>(m.bytes);
        if (way == Message::Way::receive)
          check_mpi(MPI_Irecv(m.data, bytes, MPI_BYTE, m.peer, m.tag, world, &requests_[i]),
                    "MPI_Irecv");
        else
          check_mpi(MPI_Isend(m.data, bytes, MPI_BYTE, m.peer, m.tag, world, &requests_[i]),
                    "MPI_Isend");
      }
  }

  bool landed() override {
    if (landed_) return true;
    int all = 0;
    const int result =
        MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &all, statuses_.data());
    if (result != MPI_SUCCESS && result != MPI_ERR_IN_STATUS) check_mpi(result, "MPI_Testall");
    for (std::size_t i = 0; i < messages_.size(); ++i) {
      if (messages_[i].way != Message::Way::receive) continue;
      const int error = result == MPI_ERR_IN_STATUS ? statuses_[i].MPI_ERROR : MPI_SUCCESS;
      if (error == MPI_ERR_TRUNCATE)
        throw lengths_differ(
            messages_[i].peer,
            "longer than the " + std::to_string(messages_[i].bytes) + " bytes expected");
      if (error != MPI_ERR_PENDING) check_mpi(error, "MPI_Testall");
      if (!all) continue;
      int bytes = 0;
      check_mpi(MPI_Get_count(&statuses_[i], MPI_BYTE, &bytes), "MPI_Get_count");
      if (static_cast<std::size_t>(bytes) != messages_[i].bytes)
        throw lengths_differ(messages_[i].peer, std::to_string(bytes) + " bytes instead of " +
                                                    std::to_string(messages_[i].bytes));
    }
    landed_ = all != 0;
    return landed_;
  }

  std::vector<int> missing() override {
    for (const auto way : {Message::Way::receive, Message::Way::send}) {
      std::vector<int> peers;
      for (std::size_t i = 0; i < messages_.size(); ++i) {
        if (messages_[i].way != way || requests_[i] == MPI_REQUEST_NULL) continue;
        int arrived = 0;
        MPI_Request_get_status(requests_[i], &arrived, MPI_STATUS_IGNORE);
        if (!arrived) peers.push_back(messages_[i].peer);
      }
      if (peers.empty()) continue;
      std::sort(peers.begin(), peers.end());
      peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
      return peers;
    }
    return {};
  }

  void cancel() {
    for (std::size_t i = 0; i < messages_.size(); ++i)
      if (messages_[i].way == Message::Way::receive && requests_[i] != MPI_REQUEST_NULL)
        MPI_Cancel(&requests_[i]);
  }

 private:
  std::vector<Message> messages_;
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
  bool landed_ = false;
};

class MpiTransport final : public Transport {
 public:
  MpiTransport() {
    // Short sleeps shall be short; the default slack of 50 us would double them.
    prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
    int initialized = 0, provided = MPI_THREAD_SINGLE;
    MPI_Initialized(&initialized);
    if (initialized)
      MPI_Query_thread(&provided);
    else
      MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
    ours_ = !initialized;
    if (provided < MPI_THREAD_MULTIPLE)
      throw Error(ErrorKind::environment,
                  "MPI was initialised without MPI_THREAD_MULTIPLE (level " +
                      std::to_string(provided) + ")",
                  "call MPI_Init_thread(..., MPI_THREAD_MULTIPLE, ...), or leave it to trireme");
    check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &world_), "MPI_Comm_dup");
    MPI_Comm_set_errhandler(world_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(world_, &rank_);
    MPI_Comm_size(world_, &size_);
    int* limit = nullptr;
    int found = 0;
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, static_cast<void*>(&limit), &found);
    if (found) highest_tag_ = *limit;
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::size_t longest() const override { return std::size_t{16} << 20; }

  std::unique_ptr<Flight> launch(std::span<const Message> messages) override {
    for (const Message& message : messages)
      check(message.tag <= highest_tag_, "more communicators than MPI has tags");
    return std::make_unique<MpiFlight>(world_, messages);
  }

  void bury(std::unique_ptr<Flight> flight, std::shared_ptr<void> memory) override {
    static_cast<MpiFlight&>(*flight).cancel();
    graves_.emplace_back(std::move(flight), std::move(memory));
  }

  void pause(int round) override {
    // At first only let others run, then sleep: the ranks waited for may need this core. Naps grow
    // with the wait, so that the end of a long one is seen at most an eighth late.
    const int64_t now = steady_ns();
    if (round == 0) pause_began_ = now;
    const int64_t waited = now - pause_began_;
    if (waited < 1'000'000) {
      sched_yield();
      return;
    }
    const timespec nap{0, std::clamp<int64_t>(waited / 8, 20'000, 400'000)};
    nanosleep(&nap, nullptr);
  }
  void wake() override {}  // no pause is long

  void finalize() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (ours_ && !finalized) check_mpi(MPI_Finalize(), "MPI_Finalize");
  }

 private:
  using Grave = std::pair<std::unique_ptr<Flight>, std::shared_ptr<void>>;

  MPI_Comm world_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  int highest_tag_ = 32767;  // what the standard guarantees
  bool ours_ = false;
  int64_t pause_began_ = 0;
  std::vector<Grave> graves_;
};

}  // namespace

std::unique_ptr<Transport> open_mpi_transport() {
  return std::make_unique<MpiTransport>();
}

void abort_mpi(int exit_code) {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized && !finalized) MPI_Abort(MPI_COMM_WORLD, exit_code);
}

}  // namespace trireme::comm
