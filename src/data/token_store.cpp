#include "data/token_store.h"

#include <trireme/core/error.h>

#include <algorithm>
#include <cstring>

#include <fmt/core.h>

namespace trireme::data {
namespace {

[[noreturn]] void refuse(const DataFile& file, ErrorKind kind, const std::string& what) {
  throw Error(kind, fmt::format("{}: {}", file.path(), what),
              "make token files with `trireme prepare text` or `trireme prepare bin`");
}

// tokens[i] = in[i] and targets[i] = in[i + 1]; returns the largest of the length + 1 elements.
// Three loops, as each becomes vector code only alone; the window stays in the nearest cache.
template <class T>
int64_t split(const std::byte* in, int64_t length, int64_t* __restrict tokens,
              int64_t* __restrict targets) {
  constexpr auto size = static_cast<int64_t>(sizeof(T));
  const auto at = [in](int64_t i) {
    T value;  // of any alignment
    std::memcpy(&value, in + i * size, sizeof(T));
    return value;
  };
  T largest = 0;
  for (int64_t i = 0; i <= length; ++i) largest = std::max(largest, at(i));
  for (int64_t i = 0; i < length; ++i) tokens[i] = at(i);
  for (int64_t i = 0; i < length; ++i) targets[i] = at(i + 1);
  return largest;
}

}  // namespace

TokenStore::TokenStore(std::shared_ptr<const DataFile> file, int64_t sequence_length)
    : file_(std::move(file)), tokens_(&file_->at("tokens")), length_(sequence_length) {
  check(length_ > 0, "a sequence has at least one token");
  const DatasetDescription& d = tokens_->description();
  if (d.shape.size() != 1)
    refuse(*file_, ErrorKind::data_damaged,
           fmt::format("dataset `tokens` has {} dimensions, it must have 1", d.shape.size()));
  if (d.element != Element::u8 && d.element != Element::u16 && d.element != Element::u32)
    refuse(
        *file_, ErrorKind::data_damaged,
        fmt::format("dataset `tokens` is of {}, it must be uint16 or uint32", name_of(d.element)));
  const int64_t* vocabulary = d.integer("vocab_size");
  if (vocabulary == nullptr)
    refuse(*file_, ErrorKind::input_missing,
           "dataset `tokens` has no integer attribute `vocab_size`");
  if (*vocabulary <= 0 || *vocabulary > (int64_t{1} << 32))
    refuse(*file_, ErrorKind::data_damaged, fmt::format("`vocab_size` is {}", *vocabulary));
  vocabulary_ = *vocabulary;
  samples_ = std::max<int64_t>(0, (d.rows() - 1) / length_);
  fields_ = {{"tokens", at::kLong, {length_}}, {"targets", at::kLong, {length_}}};
  if (file_->has("loss_mask")) {
    mask_ = &file_->at("loss_mask");
    if (mask_->description().shape != d.shape)
      refuse(*file_, ErrorKind::data_damaged, "`loss_mask` must have one element a token");
    fields_.push_back({"loss_mask", at::kFloat, {length_}});
  }
}

void TokenStore::read(int64_t sample, std::span<std::byte* const> rows) const {
  thread_local std::vector<std::byte> scratch;
  const int64_t first = sample * length_;
  const Element element = tokens_->description().element;
  const std::byte* in = tokens_->rows(first, length_ + 1, scratch);
  auto* tokens = reinterpret_cast<int64_t*>(rows[0]);
  auto* targets = reinterpret_cast<int64_t*>(rows[1]);
  const auto split_window = element == Element::u8    ? split<uint8_t>
                            : element == Element::u16 ? split<uint16_t>
                                                      : split<uint32_t>;
  if (split_window(in, length_, tokens, targets) >= vocabulary_)
    refuse_token(tokens, targets[length_ - 1], first);
  if (mask_ == nullptr) return;
  const std::byte* mask = mask_->rows(first + 1, length_, scratch);
  convert(mask_->description().element, mask, length_, at::kFloat, rows[2]);
}

void TokenStore::refuse_token(const int64_t* tokens, int64_t after, int64_t first) const {
  const int64_t* worst = std::max_element(tokens, tokens + length_);
  const auto [value, place] =
      *worst >= vocabulary_ ? std::pair(*worst, worst - tokens) : std::pair(after, length_);
  refuse(*file_, ErrorKind::data_damaged,
         fmt::format("token {} at position {} is outside of the vocabulary of {}", value,
                     first + place, vocabulary_));
}

SampleStore::Properties TokenStore::properties() const {
  return {{"vocab_size", vocabulary_}, {"sequence_length", length_}};
}

}  // namespace trireme::data
