#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace trireme::telemetry {

/// Numbers the names that one thread records. Most come again at the same address, those of the
/// dispatcher always; an address alone proves nothing, for others lie in reused memory.
class OperatorNames {
 public:
  uint32_t number(const char* name) {
    Known& known = known_[(reinterpret_cast<uintptr_t>(name) >> 3) % known_.size()];
    if (known.address == name && std::strcmp(name, known.text) == 0) return known.number;
    const uint32_t number = look_up(name);
    known = {name, names_[number]->data(), number};
    return number;
  }
  [[nodiscard]] size_t size() const { return names_.size(); }
  [[nodiscard]] const std::string& operator[](uint32_t number) const { return *names_[number]; }

 private:
  struct Known {
    const char* address = nullptr;
    const char* text = nullptr;
    uint32_t number = 0;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  uint32_t look_up(std::string_view name) {
    if (const auto found = numbers_.find(name); found != numbers_.end()) return found->second;
    const auto added =
        numbers_.emplace(std::string(name), static_cast<uint32_t>(names_.size())).first;
    names_.push_back(&added->first);
    return added->second;
  }

  std::array<Known, 256> known_{};
  std::unordered_map<std::string, uint32_t, Hash, std::equal_to<>> numbers_;
  std::vector<const std::string*> names_;  // keys of the map, which stay where they are
};

}  // namespace trireme::telemetry
