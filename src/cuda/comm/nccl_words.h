#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/core/error.h>

#include <string_view>

#include <c10/core/ScalarType.h>

#include <nccl.h>

namespace trireme::cuda {

/// NCCL's word for an element type that communicators serve. `reduced`: it is computed with, not
/// only moved.
[[nodiscard]] ncclDataType_t nccl_type(c10::ScalarType type, bool reduced);
[[nodiscard]] ncclRedOp_t nccl_operation(comm::ReduceOp operation);

/// A failure of NCCL as ours. `during`: what was under way; `detail`: what ncclGetLastError() says,
/// may be empty.
[[nodiscard]] Error nccl_error(ncclResult_t result, std::string_view during,
                               std::string_view detail);

/// "2.28.9"
[[nodiscard]] std::string nccl_version_text(int code);
/// Whether a library of this version serves what was compiled against NCCL's header.
[[nodiscard]] bool nccl_version_fits(int code);

}  // namespace trireme::cuda
