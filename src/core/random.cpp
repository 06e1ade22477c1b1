#include <trireme/core/random.h>

namespace trireme::core {

RandomKey RandomKey::fold(std::string_view part) const {
  uint64_t h = 0xcbf29ce484222325ULL;  // FNV-1a, then mixed by fold
  for (const char c : part) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return fold(h);
}

}  // namespace trireme::core
