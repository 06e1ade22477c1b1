#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/core/parameters.h>

#include <cstdint>

namespace trireme::parallel {

/// Makes all ranks hold what rank 0 holds: compares hashes and sends only tensors that differ
/// somewhere (none, where all ranks built the same model). Every rank calls. Returns how many were
/// sent. Error `ranks_differ`, on all ranks, if names, shapes or types are not the same.
int64_t broadcast_parameters(comm::Communicator& communicator, const core::ParameterSet& parameters,
                             const core::ParameterSet& buffers);

}  // namespace trireme::parallel
