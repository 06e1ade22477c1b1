#include "gpu/fake_nccl.h"

#include <memory>

#include <cuda_runtime_api.h>

struct ncclComm {};
struct CUevent_st {};

namespace trireme::test {
namespace {

std::unique_ptr<FakeNccl> fake = std::make_unique<FakeNccl>();

}  // namespace

FakeNccl& fake_nccl() {
  return *fake;
}

void reset_fake_nccl() {
  fake = std::make_unique<FakeNccl>();
}

}  // namespace trireme::test

using trireme::test::fake_nccl;

extern "C" {

ncclResult_t ncclCommInitRankConfig(ncclComm_t* made, int, ncclUniqueId, int, ncclConfig_t*) {
  *made = new ncclComm;
  return fake_nccl().returned;
}
ncclResult_t ncclCommSplit(ncclComm_t, int color, int, ncclComm_t* made, ncclConfig_t*) {
  *made = color == NCCL_SPLIT_NOCOLOR ? nullptr : new ncclComm;
  return fake_nccl().returned;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* result) {
  fake_nccl().asked(++fake_nccl().questions);
  *result = fake_nccl().background;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t one) {
  delete one;
  fake_nccl().device_stuck = false;
  ++fake_nccl().aborted;
  return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t one) {
  delete one;
  ++fake_nccl().destroyed;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t) {
  return "a failure";
}
const char* ncclGetLastError(ncclComm_t) {
  return "its detail";
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* made, unsigned) {
  *made = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t one) {
  delete one;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t) {
  ++fake_nccl().events_asked;
  if (fake_nccl().device_error != cudaSuccess) return fake_nccl().device_error;
  return fake_nccl().device_stuck ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 0.25F;
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t) {
  return "an illegal access";
}
cudaError_t cudaSetDevice(int) {
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) {
  return cudaSuccess;
}

}  // extern "C"
