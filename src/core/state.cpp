#include <trireme/core/error.h>
#include <trireme/core/state.h>

namespace trireme::core {

StateWriter::~StateWriter() = default;
StateReader::~StateReader() = default;
Stateful::~Stateful() = default;

Box Box::whole(at::IntArrayRef shape) {
  return {std::vector<int64_t>(shape.size(), 0), shape.vec()};
}

int64_t Box::elements() const {
  int64_t n = 1;
  for (const int64_t s : size) n *= s;
  return n;
}

void StateReader::read_whole(const std::string& name, const at::Tensor& into) const {
  const std::vector<int64_t> stored = shape(name);
  if (into.sizes() != at::IntArrayRef(stored))
    throw Error(ErrorKind::no_checkpoint, "the checkpoint's '" + name + "' has another shape than the model's");
  read(name, Box::whole(stored), into);
}

namespace {
template <class T>
T typed(const StateReader& in, const std::string& name) {
  const Scalar value = in.scalar(name);
  if (const T* v = std::get_if<T>(&value)) return *v;
  throw Error(ErrorKind::no_checkpoint, "the checkpoint's scalar '" + name + "' has another type than expected");
}
}  // namespace

int64_t StateReader::integer(const std::string& name) const { return typed<int64_t>(*this, name); }
double StateReader::real(const std::string& name) const { return typed<double>(*this, name); }
std::string StateReader::text(const std::string& name) const { return typed<std::string>(*this, name); }

}  // namespace trireme::core
