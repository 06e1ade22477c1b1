#include <trireme/autograd/recompute.h>

#include <utility>

namespace trireme::autograd {

namespace {

thread_local bool selective = false;

}  // namespace

SelectiveScope::SelectiveScope(bool on) : before_(std::exchange(selective, on)) {}
SelectiveScope::~SelectiveScope() {
  selective = before_;
}

bool SelectiveScope::open() {
  return selective;
}

std::vector<at::Tensor> cheap_part(const std::string& name, const RegionForward& forward,
                                   const std::vector<at::Tensor>& inputs) {
  return selective ? recomputed(name, forward, inputs) : forward(inputs);
}

at::Tensor cheap_part(const std::string& name,
                      const std::function<at::Tensor(const at::Tensor&)>& forward,
                      const at::Tensor& input) {
  if (!selective) return forward(input);
  return recomputed(name,
                    [forward](const std::vector<at::Tensor>& inputs) {
                      return std::vector<at::Tensor>{forward(inputs[0])};
                    },
                    {input})
      .front();
}

}  // namespace trireme::autograd
