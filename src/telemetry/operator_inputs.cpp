#include "telemetry/operator_inputs.h"

#include <c10/core/TensorImpl.h>
#include <c10/core/UndefinedTensorImpl.h>

#include <fmt/format.h>

namespace trireme::telemetry {
namespace {

// The code: how many inputs, then of each what it is and how many words follow, in one word, and
// those. Those of a list of tensors are tensors likewise.
enum class Tag : int64_t { other, tensor, numbers, tensors };

int64_t head(Tag tag, size_t words) {
  return static_cast<int64_t>(tag) << 32 | static_cast<int64_t>(words);
}
Tag tag_of(int64_t head) {
  return static_cast<Tag>(head >> 32);
}
size_t words_of(int64_t head) {
  return static_cast<size_t>(head & 0xffffffff);
}

class Writer {
 public:
  explicit Writer(int64_t* to) : begin_(to), at_(to + 1), end_(to + InputCode::max_words) {
    *to = 0;
  }

  /// False if there is no more room.
  bool add(const c10::IValue& value) {
    int64_t* const before = at_;
    const bool fits = write(value);
    if (fits)
      ++*begin_;
    else
      at_ = before;
    return fits;
  }
  [[nodiscard]] size_t words() const { return static_cast<size_t>(at_ - begin_); }

 private:
  bool write(const c10::IValue& value) {
    if (value.isTensor()) return write(*value.unsafeToTensorImpl());
    if (value.isInt()) return put(head(Tag::numbers, 1)) && put(value.toInt());
    if (value.isBool()) return put(head(Tag::numbers, 1)) && put(value.toBool() ? 1 : 0);
    if (value.isIntList()) return write_numbers(value.toIntList());
    if (value.isBoolList()) return write_numbers(value.toBoolList());
    if (value.isTensorList()) return write_tensors(value.toTensorList());
    return put(head(Tag::other, 0));
  }
  bool write(const c10::TensorImpl& tensor) {
    if (&tensor == c10::UndefinedTensorImpl::singleton()) return put(head(Tag::other, 0));
    const c10::IntArrayRef sizes = tensor.sizes();
    if (!put(head(Tag::tensor, sizes.size()))) return false;
    for (const int64_t size : sizes)
      if (!put(size)) return false;
    return true;
  }
  template <class List>
  bool write_numbers(const List& list) {
    if (!put(head(Tag::numbers, list.size()))) return false;
    for (size_t i = 0; i < list.size(); ++i)
      if (!put(list.get(i))) return false;
    return true;
  }
  bool write_tensors(const c10::List<at::Tensor>& list) {
    int64_t* const mine = at_;
    if (!put(0)) return false;
    for (size_t i = 0; i < list.size(); ++i)
      if (!write(*list.get(i).unsafeGetTensorImpl())) return false;
    *mine = head(Tag::tensors, static_cast<size_t>(at_ - mine - 1));
    return true;
  }
  bool put(int64_t word) {
    if (at_ == end_) return false;
    *at_++ = word;
    return true;
  }

  int64_t* begin_;
  int64_t* at_;
  int64_t* end_;
};

std::string sizes_text(const int64_t* sizes, size_t count) {
  return fmt::format("[{}]", fmt::join(sizes, sizes + count, ", "));
}

std::string text_of(int64_t head, const int64_t* words) {
  switch (tag_of(head)) {
    case Tag::tensor:
      return sizes_text(words, words_of(head));
    case Tag::tensors: {
      std::string text;
      for (const int64_t* at = words; at < words + words_of(head); at += 1 + words_of(*at))
        text += (text.empty() ? "" : ", ") + text_of(*at, at + 1);
      return "[" + text + "]";
    }
    default:
      return "[]";
  }
}

}  // namespace

size_t InputCode::write(c10::ArrayRef<const c10::IValue> inputs, int64_t* to) {
  Writer writer(to);
  for (const c10::IValue& input : inputs)
    if (!writer.add(input)) break;
  return writer.words();
}

std::vector<OperatorInput> InputCode::inputs(const int64_t* code) {
  std::vector<OperatorInput> inputs;
  const int64_t count = *code++;
  for (int64_t i = 0; i < count; ++i) {
    const Tag tag = tag_of(*code);
    const size_t words = words_of(*code++);
    OperatorInput& input = inputs.emplace_back();
    if (tag == Tag::tensor) input.kind = OperatorInput::Kind::tensor;
    if (tag == Tag::numbers) input.kind = OperatorInput::Kind::numbers;
    input.values = {code, words};
    code += words;
  }
  return inputs;
}

std::string InputCode::shapes(const int64_t* code) {
  std::string text;
  const int64_t count = *code++;
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0) text += ", ";
    text += text_of(*code, code + 1);
    code += 1 + words_of(*code);
  }
  return "[" + text + "]";
}

}  // namespace trireme::telemetry
