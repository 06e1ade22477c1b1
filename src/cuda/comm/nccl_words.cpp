#include "cuda/comm/nccl_words.h"

#include <string>

#include <fmt/core.h>

namespace trireme::cuda {

ncclDataType_t nccl_type(c10::ScalarType type, bool reduced) {
  switch (type) {
    case c10::kFloat:
      return ncclFloat32;
    case c10::kDouble:
      return ncclFloat64;
    case c10::kBFloat16:
      return ncclBfloat16;
    case c10::kHalf:
      return ncclFloat16;
    case c10::kLong:
      return ncclInt64;
    case c10::kByte:
      check(!reduced, "bytes are moved, not reduced");
      return ncclUint8;
    default:
      check(false,
            std::string("communicators do not serve elements of type ") + c10::toString(type));
      return ncclNumTypes;
  }
}

ncclRedOp_t nccl_operation(comm::ReduceOp operation) {
  switch (operation) {
    case comm::ReduceOp::sum:
      return ncclSum;
    case comm::ReduceOp::max:
      return ncclMax;
    case comm::ReduceOp::min:
      return ncclMin;
  }
  check(false, "an unknown reduction");
  return ncclSum;
}

Error nccl_error(ncclResult_t result, std::string_view during, std::string_view detail) {
  ErrorKind kind = ErrorKind::unexpected;
  const char* hint = "run again with NCCL_DEBUG=WARN and look at what NCCL prints";
  switch (result) {
    case ncclUnhandledCudaError:
      kind = ErrorKind::environment;
      hint =
          "look for a GPU that has failed (nvidia-smi, the kernel's log) and for a driver that is "
          "too old; "
          "NCCL_DEBUG=WARN says which call failed";
      break;
    case ncclSystemError:
      kind = ErrorKind::environment;
      hint =
          "look at the network between the hosts (NCCL_SOCKET_IFNAME names its interface), at the "
          "limits of memory and "
          "files, and at the size of /dev/shm; NCCL_DEBUG=WARN says which call failed";
      break;
    case ncclInvalidUsage:
      kind = ErrorKind::environment;
      hint =
          "two ranks on one GPU and different NCCL_* variables on different ranks look like this; "
          "NCCL_DEBUG=WARN says "
          "what NCCL objects to";
      break;
    case ncclRemoteError:
      kind = ErrorKind::peer_lost;
      hint = "another rank's process or its network is gone: its own record says more";
      break;
    default:
      break;
  }
  std::string message = fmt::format("NCCL, {}: {}", during, ncclGetErrorString(result));
  if (!detail.empty()) message += fmt::format(" ({})", detail);
  return Error(kind, std::move(message), hint);
}

std::string nccl_version_text(int code) {
  return fmt::format("{}.{}.{}", code / 10000, code / 100 % 100, code % 100);
}

bool nccl_version_fits(int code) {
  return code / 100 == NCCL_VERSION_CODE / 100;
}

}  // namespace trireme::cuda
