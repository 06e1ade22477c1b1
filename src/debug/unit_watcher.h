#pragma once

#include <trireme/autograd/unit.h>
#include <trireme/debug/tool.h>

#include "debug/mishap.h"

#include <vector>

namespace trireme::debug {

/// An attendant that need not care for every moment.
class UnitWatcher : public autograd::UnitAttendant {
 public:
  void before_forward(autograd::Unit&) override {}
  void after_forward(autograd::Unit&) override {}
  void before_backward(autograd::Unit&) override {}
  void after_backward(autograd::Unit&) override {}
};

/// A tool that looks inside of forward and backward, always within mishap_.guard().
class InsideTool : public Tool, public UnitWatcher {
 public:
  void silence() noexcept final { mishap_.close(); }

 protected:
  Mishap mishap_;
};

/// Attends units while it lives: whole steps, since an attendant must outlive the backwards that it
/// is told of.
class Attendance {
 public:
  Attendance(const std::vector<autograd::Unit*>& units, autograd::UnitAttendant& attendant)
      : units_(units), attendant_(attendant) {
    for (autograd::Unit* const unit : units_) unit->add_attendant(attendant_);
  }
  ~Attendance() {
    for (autograd::Unit* const unit : units_) unit->remove_attendant(attendant_);
  }
  Attendance(const Attendance&) = delete;
  Attendance& operator=(const Attendance&) = delete;

 private:
  const std::vector<autograd::Unit*>& units_;
  autograd::UnitAttendant& attendant_;
};

}  // namespace trireme::debug
