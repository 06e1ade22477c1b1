#pragma once

#include <trireme/comm/communicator.h>

#include <c10/core/Device.h>

namespace trireme::cuda {

/// The ranks of `ranks` with NCCL, each with its GPU `device`; see
/// comm::make_device_communicator().
///
/// All communicators of a device share one stream of high priority, so their operations run in the
/// order of their issue, which must agree between ranks (NCCL's own ones would have to run at the
/// same time, and may block each other). Any thread may issue and wait. Operations may be recorded
/// into a graph, after each kind has run once outside of one; what is begun inside of a recording
/// is waited for inside. See Watch for what recording and replaying have to tell it.
///
/// Destroying it does not block: the watch takes it down when its operations have ended. Destroy
/// the graphs that use it first. Two ranks on one GPU are refused, unless the environment says
/// TRIREME_SHARE_GPU=1, which is for tests.
[[nodiscard]] comm::CommunicatorPtr make_nccl_communicator(const comm::CommunicatorPtr& ranks,
                                                           c10::Device device);

}  // namespace trireme::cuda
