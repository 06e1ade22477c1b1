#include <trireme/core/error.h>
#include <trireme/core/fragments.h>

#include <algorithm>

namespace trireme::core {

namespace {

/// Adds the boxes of [begin, end) of the part of the tensor that fixes the dimensions in `fixed`.
void cut(at::IntArrayRef shape, std::vector<int64_t>& fixed, int64_t begin, int64_t end, std::vector<RunBox>& boxes) {
  const size_t dim = fixed.size();
  int64_t row = 1;  // elements of one index of this dimension
  for (size_t d = dim + 1; d < shape.size(); ++d) row *= shape[d];

  const auto add_rows = [&](int64_t first, int64_t last) {
    RunBox one;
    one.box.offset = fixed;
    one.box.size.assign(dim, 1);
    if (dim < shape.size()) {
      one.box.offset.push_back(first);
      one.box.size.push_back(last - first);
    }
    for (size_t d = dim + 1; d < shape.size(); ++d) {
      one.box.offset.push_back(0);
      one.box.size.push_back(shape[d]);
    }
    one.offset = boxes.empty() ? 0 : boxes.back().offset + boxes.back().box.elements();
    boxes.push_back(std::move(one));
  };
  const auto add_part = [&](int64_t index, int64_t from, int64_t to) {
    fixed.push_back(index);
    cut(shape, fixed, from, to, boxes);
    fixed.pop_back();
  };

  int64_t first = begin / row;
  if (begin % row != 0) {
    add_part(first, begin % row, std::min(end - first * row, row));
    ++first;
  }
  const int64_t last = end / row;
  if (first < last) add_rows(first, last);
  if (last >= first && end % row != 0) add_part(last, 0, end % row);
}

}  // namespace

std::vector<RunBox> boxes_of_run(at::IntArrayRef shape, int64_t begin, int64_t elements) {
  check(begin >= 0 && elements >= 0 && begin + elements <= Box::whole(shape).elements(), "a run lies inside of its tensor");
  std::vector<RunBox> boxes;
  std::vector<int64_t> fixed;
  if (elements > 0) cut(shape, fixed, begin, begin + elements, boxes);
  return boxes;
}

void save_values(StateWriter& out, const std::string& name, const Parameter& parameter, const at::Tensor& values) {
  if (!parameter.fragment) return out.replicated(name, values.detach().contiguous());
  const Fragment& fragment = *parameter.fragment;
  if (!fragment.saved) return;
  for (const RunBox& one : boxes_of_run(fragment.shape, fragment.begin, values.numel()))
    out.shard(name, fragment.shape, one.box, values.detach().narrow(0, one.offset, one.box.elements()).view(one.box.size));
}

void load_values(const StateReader& in, const std::string& name, const Parameter& parameter, const at::Tensor& into) {
  const at::Tensor values = into.detach();
  if (!parameter.fragment) {
    if (values.is_contiguous()) return in.read_whole(name, values);
    const at::Tensor plain = values.contiguous();
    in.read_whole(name, plain);
    values.copy_(plain);
    return;
  }
  const Fragment& fragment = *parameter.fragment;
  if (in.shape(name) != fragment.shape)
    throw Error(ErrorKind::no_checkpoint, "the checkpoint's '" + name + "' has another shape than the model's");
  for (const RunBox& one : boxes_of_run(fragment.shape, fragment.begin, values.numel()))
    in.read(name, one.box, values.narrow(0, one.offset, one.box.elements()).view(one.box.size));
}

}  // namespace trireme::core
