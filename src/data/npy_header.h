#pragma once

#include "data/element.h"
#include "data/input_file.h"

#include <cstdint>
#include <vector>

namespace trireme::data {

struct NpyHeader {
  Element element = Element::other;
  std::vector<int64_t> shape;
};

/// Reads the header of a .npy file, versions 1 to 3 (NumPy Enhancement Proposal 1), and leaves `in`
/// at the data. Error data_damaged for anything but little-endian numbers in C order.
[[nodiscard]] NpyHeader read_npy_header(InputFile& in);

}  // namespace trireme::data
