#include "model/data_check.h"

#include <trireme/core/error.h>

#include <fmt/core.h>

namespace trireme::model {

int64_t DataCheck::get(std::string_view property, int64_t fallback) const {
  for (const auto& [name, value] : properties_)
    if (name == property) return value;
  return fallback;
}

void DataCheck::at_most(std::string_view property, std::string_view key, int64_t limit) const {
  const int64_t have = get(property, limit);
  if (have > limit) refuse(property, have, key, limit);
}

void DataCheck::equals(std::string_view property, std::string_view key, int64_t expected) const {
  const int64_t have = get(property, expected);
  if (have != expected) refuse(property, have, key, expected);
}

void DataCheck::refuse(std::string_view property, int64_t have, std::string_view key,
                       int64_t expected) const {
  throw Error(ErrorKind::configuration,
              fmt::format("the data has {} {}, the model {} has {} {}", property, have, model_, key,
                          expected),
              fmt::format("set {} to {}, or train on other data", key, have));
}

}  // namespace trireme::model
