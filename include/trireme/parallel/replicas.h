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

/// Throws, on all ranks, if tensors that must be equal on all ranks are not: Error
/// `corruption` that names the first one and the ranks of the minority (where no value has a
/// majority, who holds which). Every rank calls, when nothing changes the tensors.
/// `last_equal_step`: when they were last found equal. Hashes of 8
/// bytes a rank travel; more only where they differ.
void require_equal_replicas(comm::Communicator& communicator, const core::ParameterSet& tensors,
                            int64_t step, int64_t last_equal_step);

}  // namespace trireme::parallel
