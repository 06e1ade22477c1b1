#pragma once

#include <trireme/comm/communicator.h>

#include <functional>

#include <c10/core/Device.h>

namespace trireme::comm {

/// A communicator of the ranks of `ranks` for tensors on `device`, made by its back end; `ranks` itself for the CPU. All ranks
/// call. `ranks` bootstraps it, carries its byte strings, and lends its deadline and name; poisoning `ranks` poisons it, not the
/// other way round. Error `environment`, on all ranks, where devices cannot communicate.
[[nodiscard]] CommunicatorPtr make_device_communicator(const CommunicatorPtr& ranks, c10::Device device);

using DeviceCommunicators = std::function<CommunicatorPtr(const CommunicatorPtr& ranks, c10::Device device)>;
/// For devices of this type from now on; a back end calls it when it is loaded.
void register_device_communicators(c10::DeviceType type, DeviceCommunicators make);

}  // namespace trireme::comm
