#include <trireme/storage/safetensors.h>

#include <array>
#include <utility>

namespace trireme::storage {
namespace {

constexpr std::array dtypes{
    std::pair{at::ScalarType::Double, std::string_view("F64")},
    std::pair{at::ScalarType::Float, std::string_view("F32")},
    std::pair{at::ScalarType::Half, std::string_view("F16")},
    std::pair{at::ScalarType::BFloat16, std::string_view("BF16")},
    std::pair{at::ScalarType::Float8_e5m2, std::string_view("F8_E5M2")},
    std::pair{at::ScalarType::Float8_e4m3fn, std::string_view("F8_E4M3")},
    std::pair{at::ScalarType::ComplexFloat, std::string_view("C64")},
    std::pair{at::ScalarType::Long, std::string_view("I64")},
    std::pair{at::ScalarType::Int, std::string_view("I32")},
    std::pair{at::ScalarType::Short, std::string_view("I16")},
    std::pair{at::ScalarType::Char, std::string_view("I8")},
    std::pair{at::ScalarType::UInt64, std::string_view("U64")},
    std::pair{at::ScalarType::UInt32, std::string_view("U32")},
    std::pair{at::ScalarType::UInt16, std::string_view("U16")},
    std::pair{at::ScalarType::Byte, std::string_view("U8")},
    std::pair{at::ScalarType::Bool, std::string_view("BOOL")},
};

}  // namespace

std::string_view safetensors_dtype(at::ScalarType type) {
  for (const auto& [scalar_type, name] : dtypes)
    if (scalar_type == type) return name;
  return {};
}

std::optional<at::ScalarType> scalar_type_of(std::string_view safetensors_dtype) {
  for (const auto& [scalar_type, name] : dtypes)
    if (name == safetensors_dtype) return scalar_type;
  return {};
}

}  // namespace trireme::storage
