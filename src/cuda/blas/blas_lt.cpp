#include "cuda/blas/blas_lt.h"

#include <trireme/core/error.h>
#include <trireme/core/log.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>

namespace trireme::cuda {

namespace {

// What NVIDIA recommends for Hopper; older GPUs need less.
constexpr size_t workspace_bytes = size_t{32} << 20;
constexpr int candidates = 8;

void require(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(ErrorKind::environment, std::string("cuBLASLt: ") + what + ": " + cublasLtGetStatusString(status),
                "check the driver with nvidia-smi; `trireme doctor` shows the versions in use");
}

cudaDataType_t data_type(Element type) {
  switch (type) {
    case Element::float32:
      return CUDA_R_32F;
    case Element::bfloat16:
      return CUDA_R_16BF;
    case Element::float16:
      return CUDA_R_16F;
  }
  return CUDA_R_32F;
}

cublasLtEpilogue_t epilogue_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none:
      return CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::bias:
      return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::bias_gelu:
      return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case Epilogue::gelu_gradient:
      return CUBLASLT_EPILOGUE_DGELU_BGRAD;
    case Epilogue::row_sums_of_a:
      return CUBLASLT_EPILOGUE_BGRADA;
    case Epilogue::row_sums_of_b:
      return CUBLASLT_EPILOGUE_BGRADB;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

/// The largest power of 2, at most 256, that the address is a multiple of.
int alignment_of(const void* address) {
  const auto value = reinterpret_cast<uintptr_t>(address) | 256U;
  return static_cast<int>(value & (~value + 1));
}

class Description {
 public:
  explicit Description(const Product& product) {
    const cublasComputeType_t compute = product.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    require(cublasLtMatmulDescCreate(&handle_, compute, CUDA_R_32F), "descriptor");
    const auto operation = [](bool transpose) { return static_cast<int32_t>(transpose ? CUBLAS_OP_T : CUBLAS_OP_N); };
    set(CUBLASLT_MATMUL_DESC_TRANSA, operation(product.transpose_a));
    set(CUBLASLT_MATMUL_DESC_TRANSB, operation(product.transpose_b));
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(epilogue_of(product.epilogue)));
    // The type of bias and aux is that of D by default.
    if (has_aux(product.epilogue)) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, product.ldd);
    epilogue_ = product.epilogue;
  }
  ~Description() {
    if (handle_ != nullptr) cublasLtMatmulDescDestroy(handle_);
  }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

  void point_to(const Operands& operands) {
    if (epilogue_ != Epilogue::none) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
    if (has_aux(epilogue_)) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, operands.aux);
  }
  [[nodiscard]] cublasLtMatmulDesc_t get() const { return handle_; }

 private:
  static bool has_aux(Epilogue epilogue) { return epilogue == Epilogue::bias_gelu || epilogue == Epilogue::gelu_gradient; }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    require(cublasLtMatmulDescSetAttribute(handle_, attribute, &value, sizeof value), "descriptor");
  }

  cublasLtMatmulDesc_t handle_ = nullptr;
  Epilogue epilogue_ = Epilogue::none;
};

class Layout {
 public:
  Layout(Element type, int64_t rows, int64_t columns, int64_t leading) {
    require(cublasLtMatrixLayoutCreate(&handle_, data_type(type), static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), leading),
            "layout");
  }
  ~Layout() {
    if (handle_ != nullptr) cublasLtMatrixLayoutDestroy(handle_);
  }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  [[nodiscard]] cublasLtMatrixLayout_t get() const { return handle_; }

 private:
  cublasLtMatrixLayout_t handle_ = nullptr;
};

class Preference {
 public:
  Preference() { require(cublasLtMatmulPreferenceCreate(&handle_), "preference"); }
  ~Preference() { cublasLtMatmulPreferenceDestroy(handle_); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;
  template <class T>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, T value) {
    require(cublasLtMatmulPreferenceSetAttribute(handle_, attribute, &value, sizeof value), "preference");
  }
  [[nodiscard]] cublasLtMatmulPreference_t get() const { return handle_; }

 private:
  cublasLtMatmulPreference_t handle_ = nullptr;
};

/// What is done first where an epilogue is not fused.
Epilogue without_fusion(Epilogue epilogue) { return epilogue == Epilogue::bias_gelu ? Epilogue::bias : Epilogue::none; }

/// Bytes that the kernels behind it then read and write: gelu, gelu's gradient and sums of its result, or sums of an operand.
double bytes_apart(const Product& p) {
  const double size = p.type == Element::float32 ? 4 : 2;
  const auto elements = [](int64_t rows, int64_t columns) { return static_cast<double>(rows) * static_cast<double>(columns); };
  switch (p.epilogue) {
    case Epilogue::bias_gelu:
      return 2 * size * elements(p.m, p.n);
    case Epilogue::gelu_gradient:
      return 4 * size * elements(p.m, p.n);
    case Epilogue::row_sums_of_a:
      return size * elements(p.m, p.k);
    case Epilogue::row_sums_of_b:
      return size * elements(p.n, p.k);
    case Epilogue::none:
    case Epilogue::bias:
      break;
  }
  return 0;
}

/// Of the current device's memory, as far as kernels reach it; 0 if it cannot be asked.
double bytes_per_millisecond() {
  int kilohertz = 0, bits = 0;
  const auto device = static_cast<int>(at::cuda::current_device());
  if (cudaDeviceGetAttribute(&kilohertz, cudaDevAttrMemoryClockRate, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&bits, cudaDevAttrGlobalMemoryBusWidth, device) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return 0;
  }
  return 0.85 * 2.0 * kilohertz * bits / 8;
}

bool is_capturing() { return c10::cuda::currentStreamCaptureStatusMayInitCtx() != c10::cuda::CaptureStatus::None; }

}  // namespace

struct BlasLt::Plan {
  explicit Plan(const Product& p)
      : description(p),
        a(p.type, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.lda),
        b(p.type, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.ldb),
        d(p.type, p.m, p.n, p.ldd) {}

  cublasStatus_t enqueue(cublasLtHandle_t handle, const Operands& operands, const cublasLtMatmulAlgo_t& by, void* workspace) {
    const float one = 1.0F, zero = 0.0F;
    return cublasLtMatmul(handle, description.get(), &one, operands.a, a.get(), operands.b, b.get(), &zero, operands.d, d.get(),
                          operands.d, d.get(), &by, workspace, workspace_bytes, at::cuda::getCurrentCUDAStream());
  }

  /// The library's proposals, best first; none if it cannot do this product.
  std::vector<cublasLtMatmulHeuristicResult_t> proposals(cublasLtHandle_t handle, const Key& key, int wanted) {
    Preference preference;
    preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    // Not in place: partial sums of split products would meet in any order, and be rounded to the type of D.
    preference.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(key.a));
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(key.b));
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(key.d));
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(key.d));
    std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<size_t>(wanted));
    int count = 0;
    if (cublasLtMatmulAlgoGetHeuristic(handle, description.get(), a.get(), b.get(), d.get(), d.get(), preference.get(), wanted,
                                       found.data(), &count) != CUBLAS_STATUS_SUCCESS)
      count = 0;
    found.resize(static_cast<size_t>(count));
    std::erase_if(found, [](const auto& one) { return one.state != CUBLAS_STATUS_SUCCESS; });
    return found;
  }

  /// Milliseconds of one call, the least of 3 blocks; nothing if it cannot run.
  std::optional<float> time(cublasLtHandle_t handle, const Operands& operands, const cublasLtMatmulAlgo_t& by, void* workspace) {
    constexpr int calls = 4;
    if (enqueue(handle, operands, by, workspace) != CUBLAS_STATUS_SUCCESS) return std::nullopt;
    at::cuda::CUDAEvent begin(cudaEventDefault), end(cudaEventDefault);
    std::optional<float> least;
    for (int block = 0; block < 3; ++block) {
      begin.record();
      for (int i = 0; i < calls; ++i)
        if (enqueue(handle, operands, by, workspace) != CUBLAS_STATUS_SUCCESS) return std::nullopt;
      end.record();
      end.synchronize();
      const float mean = begin.elapsed_time(end) / calls;
      least = least ? std::min(*least, mean) : mean;
    }
    return least;
  }

  Description description;
  Layout a, b, d;
  std::optional<cublasLtMatmulAlgo_t> algorithm;  // none: the library cannot do it
  bool timed = false;
  std::optional<float> milliseconds;  // of the algorithm, if it was timed
};

BlasLt::BlasLt() = default;
BlasLt::~BlasLt() = default;

void BlasLt::set_autotune(bool on) {
  const std::lock_guard lock(mutex_);
  autotune_ = on;
}

void* BlasLt::workspace() {
  const c10::cuda::CUDAStream stream = at::cuda::getCurrentCUDAStream();
  at::DataPtr& memory = workspaces_[{stream.device_index(), stream.stream()}];
  if (!memory) memory = c10::cuda::CUDACachingAllocator::get()->allocate(workspace_bytes);
  return memory.get();
}

BlasLt::Plan& BlasLt::planned(cublasLtHandle_t handle, const Key& key, const Operands& operands, void* workspace) {
  std::unique_ptr<Plan>& plan = plans_[key];
  const bool may_time = autotune_ && !is_capturing();
  const bool is_new = plan == nullptr;
  if (is_new) plan = std::make_unique<Plan>(key.product);
  plan->description.point_to(operands);
  if (!is_new && (!may_time || plan->timed || !plan->algorithm)) return *plan;

  const auto proposals = plan->proposals(handle, key, may_time ? candidates : 1);
  plan->algorithm.reset();
  if (!proposals.empty()) plan->algorithm = proposals.front().algo;
  else
    log::debug("cuBLASLt cannot do a product of {} x {} x {} with epilogue {}", key.product.m, key.product.n, key.product.k,
               static_cast<int>(key.product.epilogue));
  if (may_time) {
    std::optional<float> least;
    for (const auto& proposal : proposals) {
      const std::optional<float> time = plan->time(handle, operands, proposal.algo, workspace);
      if (!time || (least && *time >= *least)) continue;
      least = time;
      plan->algorithm = proposal.algo;
    }
    plan->timed = true;
    plan->milliseconds = least;
    if (bytes_apart(key.product) > 0 && least && !is_worth_fusing(handle, key, operands, workspace, *least))
      plan->algorithm.reset();
  }
  return *plan;
}

bool BlasLt::is_worth_fusing(cublasLtHandle_t handle, Key key, Operands operands, void* workspace, float milliseconds) {
  const double bytes = bytes_apart(key.product), speed = bytes_per_millisecond();
  const Product fused = key.product;
  key.product.epilogue = without_fusion(fused.epilogue);
  operands.aux = nullptr;
  if (key.product.epilogue == Epilogue::none) operands.bias = nullptr;
  key.aux = alignment_of(operands.aux);
  key.bias = alignment_of(operands.bias);
  const Plan& first = planned(handle, key, operands, workspace);
  if (!first.algorithm || !first.milliseconds || speed <= 0) return true;
  const double apart = *first.milliseconds + bytes / speed;
  const bool worth = milliseconds <= apart;
  log::debug("a product of {} x {} x {} with epilogue {}: {:.3f} ms in one, about {:.3f} ms apart", fused.m, fused.n, fused.k,
             static_cast<int>(fused.epilogue), milliseconds, apart);
  return worth;
}

bool BlasLt::run(const Product& product, const Operands& operands) {
  const std::lock_guard lock(mutex_);
  const cublasLtHandle_t handle = at::cuda::getCurrentCUDABlasLtHandle();
  void* const memory = workspace();
  const Key key{product,
                at::cuda::current_device(),
                alignment_of(operands.a),
                alignment_of(operands.b),
                alignment_of(operands.d),
                alignment_of(operands.bias),
                alignment_of(operands.aux)};
  Plan& plan = planned(handle, key, operands, memory);
  if (!plan.algorithm) return false;
  const cublasStatus_t status = plan.enqueue(handle, operands, *plan.algorithm, memory);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) {
    plan.algorithm.reset();
    return false;
  }
  require(status, "matrix product");
  return true;
}

}  // namespace trireme::cuda
