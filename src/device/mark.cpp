#include <trireme/core/error.h>
#include <trireme/device/mark.h>

#include <atomic>

#include <c10/core/impl/VirtualGuardImpl.h>

namespace trireme::device {
namespace {

std::atomic<int64_t> waits{0}, waited_ns{0};

}  // namespace

Mark Mark::now(c10::Device device, bool timed) {
  Mark mark(device);
  if (device.is_cpu()) {
    mark.time_ = std::chrono::steady_clock::now();
    return mark;
  }
  mark.event_ = std::make_shared<c10::Event>(device.type(), timed ? c10::EventFlag::BACKEND_DEFAULT
                                                                  : c10::EventFlag::PYTORCH_DEFAULT);
  mark.event_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  return mark;
}

bool Mark::reached() const {
  return event_ == nullptr || event_->query();
}

void Mark::wait_on_host() const {
  if (event_ == nullptr || event_->query()) return;
  const auto since = std::chrono::steady_clock::now();
  event_->synchronize();
  waits.fetch_add(1, std::memory_order_relaxed);
  waited_ns.fetch_add(std::chrono::nanoseconds(std::chrono::steady_clock::now() - since).count(), std::memory_order_relaxed);
}

HostWaits host_waits() {
  return {.count = waits.load(std::memory_order_relaxed), .seconds = static_cast<double>(waited_ns.load(std::memory_order_relaxed)) * 1e-9};
}

void Mark::wait_on_stream() const {
  if (event_ != nullptr) event_->block(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
}

double Mark::seconds_since(const Mark& earlier) const {
  check((event_ == nullptr) == (earlier.event_ == nullptr), "marks of one device are compared");
  if (event_ == nullptr) return std::chrono::duration<double>(time_ - earlier.time_).count();
  return earlier.event_->elapsedTime(*event_) * 1e-3;
}

}  // namespace trireme::device
