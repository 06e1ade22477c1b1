#pragma once

#include <trireme/comm/communicator.h>

#include "comm/health.h"
#include "cuda/comm/transfer.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include <nccl.h>

namespace trireme::cuda {

/// NCCL's communicator of one rank, and whether it still works. NCCL is told not to block, so every
/// call returns soon and is then asked until its work has been enqueued; NCCL_COMM_BLOCKING=1 in
/// the environment overrules that, and then what hangs inside of NCCL is ended by the watch alone.
/// Owned by its communicator and by the watch, which takes it down.
class NcclLink : public std::enable_shared_from_this<NcclLink> {
 public:
  /// `ranks`: the same ranks on the host. `parent`: what it is split from, may be null; poisoned
  /// with it.
  NcclLink(comm::CommunicatorPtr ranks, int device, const NcclLink* parent);
  NcclLink(const NcclLink&) = delete;
  NcclLink& operator=(const NcclLink&) = delete;

  /// Joins the ranks. All of them call, with the device current; no longer than the deadline.
  void open(const ncclUniqueId& id);
  /// The same for the ranks that gave one colour; `part` null: this rank gives none.
  void split(NcclLink* part, int color, int key);

  [[nodiscard]] const comm::CommunicatorPtr& ranks() const { return ranks_; }
  [[nodiscard]] int device() const { return device_; }
  [[nodiscard]] comm::Health& health() const { return *health_; }
  /// Looks at the host's communicator too.
  void throw_if_poisoned() const;

  /// Calls NCCL, and returns when what was called for is enqueued. Poisons the communicator and
  /// throws if it fails.
  using Call = std::function<ncclResult_t(ncclComm_t)>;
  void call(std::string_view what, const Call& issue);

  /// Operations in the order of their issue; the watch looks at them.
  void track(std::shared_ptr<Transfer> transfer);
  [[nodiscard]] uint64_t next_sequence() { return sequence_.fetch_add(1) + 1; }
  [[nodiscard]] Error hang(const std::string& what) const;
  /// A recorded graph uses it.
  void note_recorded() { recorded_ = true; }
  [[nodiscard]] bool recorded() const { return recorded_; }

  /// Its communicator is gone: take it down when what is under way has ended.
  void retire() { retired_ = true; }
  /// One look of the watch; `may_ask`: events may be asked. False when nothing is left of it.
  [[nodiscard]] bool look(bool may_ask);
  [[nodiscard]] bool leaving() const { return leaving_; }
  [[nodiscard]] bool unused() const { return retired_; }

 private:
  void settle(std::unique_lock<std::mutex>& lock, ncclComm_t& handle, ncclResult_t result,
              std::string_view what);
  void look_at_transfers();
  void ask_nccl();
  void take_down(bool abort);

  comm::CommunicatorPtr ranks_;
  int device_;
  std::shared_ptr<comm::Health> health_;
  std::string name_;  // NCCL keeps the pointer
  std::mutex use_;    // of handle_: NCCL's calls for one communicator come one at a time
  ncclComm_t handle_ = nullptr;
  std::atomic<bool> leaving_{false};  // handle_ is about to go
  std::chrono::steady_clock::time_point leaving_since_;
  bool warned_ = false;  // that it does not go
  std::atomic<bool> gone_{false};
  std::atomic<bool> retired_{false};
  std::atomic<bool> recorded_{false};
  std::atomic<uint64_t> sequence_{0};
  std::mutex transfers_mutex_;
  std::deque<std::shared_ptr<Transfer>> transfers_;
};

}  // namespace trireme::cuda
