#pragma once

namespace trireme::telemetry {

/// The right to record operations in this process; whoever holds it is the only one.
class OperatorClaim {
 public:
  /// Throws kind `environment` if someone has it.
  OperatorClaim();
  ~OperatorClaim();
  OperatorClaim(const OperatorClaim&) = delete;
  OperatorClaim& operator=(const OperatorClaim&) = delete;
};

}  // namespace trireme::telemetry
