# LibTorch 2.11 as the imported target `libtorch::cpu`.
#
# find_package(Torch) is not used on purpose: it requires a CUDA toolkit and edits global CUDA flags.
# TRIREME_LIBTORCH names the folder that holds include/ and lib/ (an unpacked distribution, or torch/ of the wheel).
# The headers go last in the search order: they bundle a copy of fmt that must not shadow the system's.

set(TRIREME_LIBTORCH "" CACHE PATH "LibTorch 2.11: the folder with include/ and lib/")
set(_libtorch "${TRIREME_LIBTORCH}")
if(NOT _libtorch)
  set(_libtorch "${PROJECT_SOURCE_DIR}/.deps/libtorch/torch")
endif()
if(NOT EXISTS "${_libtorch}/include/ATen/core/Tensor.h")
  message(FATAL_ERROR "LibTorch not found in ${_libtorch}\n"
    "hint: run launch/setup, or pass -DTRIREME_LIBTORCH=/path/to/libtorch")
endif()
file(STRINGS "${_libtorch}/include/torch/headeronly/version.h" _version REGEX "define TORCH_VERSION_(MAJOR|MINOR) ")
if(NOT _version MATCHES "MAJOR 2.*MINOR 11")
  message(FATAL_ERROR "${_libtorch} is not LibTorch 2.11: ${_version}\nhint: Trireme is built against exactly this release")
endif()

add_library(libtorch::cpu INTERFACE IMPORTED)
target_compile_options(libtorch::cpu INTERFACE
  "SHELL:-idirafter \"${_libtorch}/include\""
  "SHELL:-idirafter \"${_libtorch}/include/torch/csrc/api/include\"")
# LibTorch's wheel is built with NDEBUG; without it header-side checks read flags that it never sets.
target_compile_definitions(libtorch::cpu INTERFACE NDEBUG USE_DISTRIBUTED)
target_link_libraries(libtorch::cpu INTERFACE "${_libtorch}/lib/libtorch_cpu.so" "${_libtorch}/lib/libc10.so")
target_link_options(libtorch::cpu INTERFACE "-Wl,-rpath,${_libtorch}/lib" "-Wl,--allow-shlib-undefined")

# The CUDA part, for the back end alone: nothing else may depend on it.
add_library(libtorch::cuda INTERFACE IMPORTED)
target_compile_definitions(libtorch::cuda INTERFACE USE_C10D_NCCL)
target_link_libraries(libtorch::cuda INTERFACE libtorch::cpu
  -Wl,--no-as-needed "${_libtorch}/lib/libtorch_cuda.so" "${_libtorch}/lib/libc10_cuda.so" -Wl,--as-needed)
set(TRIREME_LIBTORCH_INCLUDES "${_libtorch}/include" "${_libtorch}/include/torch/csrc/api/include")
# NVIDIA's libraries as the wheel's neighbours; empty where LibTorch was unpacked without them.
cmake_path(GET _libtorch PARENT_PATH _beside)
set(TRIREME_NVIDIA "${_beside}/nvidia")
