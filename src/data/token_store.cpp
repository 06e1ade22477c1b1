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
  convert(element, in, length_, at::kLong, rows[0]);
  const auto* tokens = reinterpret_cast<const int64_t*>(rows[0]);
  auto* targets = reinterpret_cast<int64_t*>(rows[1]);
  std::copy(tokens + 1, tokens + length_, targets);
  convert(element, in + length_ * bytes_of(element), 1, at::kLong,
          rows[1] + (length_ - 1) * static_cast<int64_t>(sizeof(int64_t)));
  check_vocabulary(tokens, length_, first);
  check_vocabulary(targets + length_ - 1, 1, first + length_);
  if (mask_ == nullptr) return;
  const std::byte* mask = mask_->rows(first + 1, length_, scratch);
  convert(mask_->description().element, mask, length_, at::kFloat, rows[2]);
}

void TokenStore::check_vocabulary(const int64_t* tokens, int64_t count, int64_t first) const {
  // A plain maximum becomes a vector loop; where it stands matters for the message only.
  int64_t largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, tokens[i]);
  if (largest < vocabulary_) return;
  const int64_t* worst = std::max_element(tokens, tokens + count);
  refuse(*file_, ErrorKind::data_damaged,
         fmt::format("token {} at position {} is outside of the vocabulary of {}", *worst,
                     first + (worst - tokens), vocabulary_));
}

SampleStore::Properties TokenStore::properties() const {
  return {{"vocab_size", vocabulary_}, {"sequence_length", length_}};
}

}  // namespace trireme::data
