#pragma once

#include <trireme/telemetry/operator_trace.h>

#include <cstdint>
#include <string>
#include <unordered_map>

namespace trireme::telemetry {

/// Keeps each string of a trace once.
class OperatorStrings {
 public:
  explicit OperatorStrings(OperatorTrace& trace) : strings_(trace.strings) {
    for (uint32_t i = 0; i < strings_.size(); ++i) places_.emplace(strings_[i], i);
  }
  uint32_t place(const std::string& text) {
    const auto [found, is_new] = places_.try_emplace(text, static_cast<uint32_t>(strings_.size()));
    if (is_new) strings_.push_back(text);
    return found->second;
  }

 private:
  std::vector<std::string>& strings_;
  std::unordered_map<std::string, uint32_t> places_;
};

}  // namespace trireme::telemetry
