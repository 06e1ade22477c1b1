#include <trireme/core/batch.h>
#include <trireme/core/error.h>

#include <fmt/format.h>

namespace trireme::core {

const at::Tensor& Batch::at(std::string_view name) const {
  std::string present;
  for (const Field& field : fields) {
    if (field.name == name) return field.values;
    present += present.empty() ? field.name : ", " + field.name;
  }
  throw Error(ErrorKind::configuration,
              fmt::format("the model asks for the field '{}', but the data has: {}", name, present),
              "choose a data file made for this model (see 'trireme prepare --help')");
}

bool Batch::has(std::string_view name) const {
  for (const Field& field : fields)
    if (field.name == name) return true;
  return false;
}

}  // namespace trireme::core
