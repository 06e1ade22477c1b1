#pragma once
// Heavy headers of LibTorch behind one precompiled header: all ATen functions, the engine, custom autograd functions.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/engine.h>
