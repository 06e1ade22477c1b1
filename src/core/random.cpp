#include <trireme/core/name_hash.h>
#include <trireme/core/random.h>

namespace trireme::core {

uint64_t name_hash(std::string_view name) {
  uint64_t h = 0xcbf29ce484222325ULL;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return h;
}

RandomKey RandomKey::fold(std::string_view part) const { return fold(name_hash(part)); }

}  // namespace trireme::core
