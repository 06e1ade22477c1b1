#include <trireme/device/peak_flops.h>

#include <array>

namespace trireme::device {
namespace {

/// In 10^12 operations a second, without sparsity. 0: not stated.
struct Peak {
  std::string_view part;  ///< of the name
  double half;            ///< bfloat16 and float16
  double tf32;
  double fp32;
};

/// NVIDIA's data sheets of the products, with sparsity divided by two. Names of more words before those that they contain.
constexpr std::array<Peak, 15> peaks{{
    {"GB200", 2500, 1250, 80},
    {"B200", 2250, 1100, 75},
    {"GH200", 989.4, 494.7, 66.9},
    {"H200 NVL", 835.5, 417.5, 60},
    {"H200", 989.4, 494.7, 66.9},
    {"H100 PCIe", 756, 378, 51},
    {"H100 NVL", 835, 417.5, 60},
    {"H100", 989.4, 494.7, 66.9},
    {"H800", 989.4, 494.7, 66.9},
    {"A100", 312, 156, 19.5},
    {"A800", 312, 156, 19.5},
    {"L40S", 362, 183, 91.6},
    {"L40", 181, 90.5, 90.5},
    {"L4", 121, 60, 30.3},
    {"A10", 125, 62.5, 31.2},
}};

bool in_word(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

/// Whether `words` are in the name, and no parts of longer ones: an A1000 is no A100.
bool has_words(std::string_view name, std::string_view words) {
  for (size_t at = name.find(words); at != std::string_view::npos; at = name.find(words, at + 1)) {
    const size_t end = at + words.size();
    if ((at == 0 || !in_word(name[at - 1])) && (end == name.size() || !in_word(name[end]))) return true;
  }
  return false;
}

}  // namespace

std::optional<double> peak_flops(std::string_view device_name, c10::ScalarType type, bool tf32) {
  if (has_words(device_name, "MIG")) return std::nullopt;  // a part of a device
  for (const Peak& one : peaks) {
    if (!has_words(device_name, one.part)) continue;
    const bool half = type == c10::ScalarType::BFloat16 || type == c10::ScalarType::Half;
    if (!half && type != c10::ScalarType::Float) return std::nullopt;
    return (half ? one.half : tf32 ? one.tf32 : one.fp32) * 1e12;
  }
  return std::nullopt;
}

}  // namespace trireme::device
