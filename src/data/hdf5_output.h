#pragma once

#include "data/hdf5_library.h"

#include <memory>

namespace trireme::data {

/// How the library writes a new file. It does not survive a write that fails: it cannot close the
/// file any more and crashes when the process exits (seen in 1.10.8). So it hears of no failure;
/// the first one is kept here, and nothing is written after it.
class Hdf5Output {
 public:
  Hdf5Output();
  /// Files created with this access list are written here; they are closed before this ends.
  void serve(hid_t access);
  /// errno of the first failure; 0: none.
  [[nodiscard]] int error() const { return *error_; }

 private:
  std::unique_ptr<int> error_;
  Handle driver_;
};

}  // namespace trireme::data
