#include <trireme/core/error.h>
#include <trireme/device/mark.h>

#include <c10/core/impl/VirtualGuardImpl.h>

namespace trireme::device {

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
  if (event_ != nullptr) event_->synchronize();
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
