#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::model {

/// Properties of a data set as Dataset::properties() gives them. What the data does not say is not
/// checked. A refusal is an Error of kind `configuration` that names both numbers and the key of
/// the model.
class DataCheck {
 public:
  using Properties = std::vector<std::pair<std::string, int64_t>>;
  DataCheck(std::string model, const Properties& properties)
      : model_(std::move(model)), properties_(properties) {}

  void at_most(std::string_view property, std::string_view key, int64_t limit) const;
  void equals(std::string_view property, std::string_view key, int64_t expected) const;
  /// The property's value, or `fallback`.
  [[nodiscard]] int64_t get(std::string_view property, int64_t fallback) const;

 private:
  [[noreturn]] void refuse(std::string_view property, int64_t have, std::string_view key,
                           int64_t expected) const;
  std::string model_;
  const Properties& properties_;
};

}  // namespace trireme::model
