#include "data/synthetic_store.h"

#include <trireme/core/error.h>
#include <trireme/core/random.h>
#include <trireme/storage/hash.h>

#include <algorithm>
#include <charconv>
#include <map>

#include <fmt/format.h>

namespace trireme::data {
namespace {

constexpr std::string_view prefix = "synthetic:";

using Numbers = std::map<std::string, int64_t, std::less<>>;

/// What the two kinds have in common.
class Synthetic : public SampleStore {
 public:
  Synthetic(std::string name, const Numbers& numbers, std::vector<FieldSpec> fields)
      : name_(std::move(name)),
        size_(numbers.at("n")),
        key_(core::RandomKey(static_cast<uint64_t>(numbers.at("seed"))).fold("synthetic")),
        fields_(std::move(fields)) {
    std::string text = name_.substr(0, name_.find('?'));
    for (const auto& [key, value] : numbers) text += fmt::format("|{}={}", key, value);
    fingerprint_ = storage::hash_of(text).hex();
  }
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] int64_t size() const override { return size_; }
  [[nodiscard]] const std::vector<FieldSpec>& fields() const override { return fields_; }
  [[nodiscard]] std::string fingerprint() const override { return fingerprint_; }

 protected:
  [[nodiscard]] core::RandomKey key(int64_t sample) const {
    return key_.fold(static_cast<uint64_t>(sample));
  }

 private:
  std::string name_;
  int64_t size_;
  core::RandomKey key_;
  std::vector<FieldSpec> fields_;
  std::string fingerprint_;
};

class SyntheticTokens final : public Synthetic {
 public:
  SyntheticTokens(const std::string& name, const Numbers& numbers)
      : Synthetic(name, numbers,
                  {{"tokens", at::kLong, {numbers.at("length")}},
                   {"targets", at::kLong, {numbers.at("length")}}}),
        vocabulary_(numbers.at("vocab")),
        length_(numbers.at("length")) {}

  void read(int64_t sample, std::span<std::byte* const> rows) const override {
    const auto vocabulary = static_cast<uint64_t>(vocabulary_);
    auto* tokens = reinterpret_cast<int64_t*>(rows[0]);
    auto* targets = reinterpret_cast<int64_t*>(rows[1]);
    uint64_t token = key(sample).below(vocabulary, 0);
    const uint64_t stride = 1 + key(sample).below(3, 1);
    for (int64_t i = 0; i < length_; ++i) {
      tokens[i] = static_cast<int64_t>(token);
      token = (token + stride) % vocabulary;
      targets[i] = static_cast<int64_t>(token);
    }
  }
  [[nodiscard]] Properties properties() const override {
    return {{"vocab_size", vocabulary_}, {"sequence_length", length_}};
  }

 private:
  int64_t vocabulary_;
  int64_t length_;
};

class SyntheticImages final : public Synthetic {
 public:
  SyntheticImages(const std::string& name, const Numbers& numbers)
      : Synthetic(
            name, numbers,
            {{"image", at::kByte, {numbers.at("channels"), numbers.at("size"), numbers.at("size")}},
             {"label", at::kLong, {}}}),
        classes_(numbers.at("classes")),
        patterns_(core::RandomKey(static_cast<uint64_t>(numbers.at("seed"))).fold("patterns")) {}

  void read(int64_t sample, std::span<std::byte* const> rows) const override {
    const uint64_t label = key(sample).below(static_cast<uint64_t>(classes_), 0);
    const core::RandomKey pattern = patterns_.fold(label);
    const core::RandomKey noise = key(sample).fold("noise");
    const int64_t pixels = fields()[0].elements();
    for (int64_t i = 0; i < pixels; ++i) {
      const auto position = static_cast<uint64_t>(i);
      rows[0][i] =
          static_cast<std::byte>((pattern.bits(position) & 127) + (noise.bits(position) & 127));
    }
    *reinterpret_cast<int64_t*>(rows[1]) = static_cast<int64_t>(label);
  }
  [[nodiscard]] Properties properties() const override {
    const auto& shape = fields()[0].shape;
    return {
        {"channels", shape[0]}, {"height", shape[1]}, {"width", shape[2]}, {"classes", classes_}};
  }

 private:
  int64_t classes_;
  core::RandomKey patterns_;
};

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::configuration, fmt::format("{}: {}", name, what),
              "write e.g. synthetic:tokens?n=1000&vocab=64&length=32 or "
              "synthetic:image?n=1000&classes=10&channels=1&size=28");
}

void read_numbers(const std::string& name, std::string_view query, Numbers& numbers) {
  while (!query.empty()) {
    const std::string_view item = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), item.size() + 1));
    const size_t equals = item.find('=');
    const auto found = numbers.find(item.substr(0, equals));
    if (equals == std::string_view::npos || found == numbers.end())
      refuse(name, fmt::format("unknown setting `{}`", item));
    const std::string_view digits = item.substr(equals + 1);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), found->second);
    const bool whole = error == std::errc() && end == digits.data() + digits.size();
    const int64_t least = found->first == "seed" ? 0 : 1;
    if (!whole || found->second < least || (found->first != "n" && found->second > (1 << 24)))
      refuse(name, fmt::format("`{}` is out of range", item));
  }
}

}  // namespace

bool is_synthetic(std::string_view name) {
  return name.starts_with(prefix);
}

std::unique_ptr<const SampleStore> make_synthetic(const std::string& name,
                                                  std::optional<int64_t> sequence_length) {
  check(is_synthetic(name), "the name of a synthetic data set");
  const std::string_view rest = std::string_view(name).substr(prefix.size());
  const size_t question = rest.find('?');
  const std::string_view kind = rest.substr(0, question);
  const std::string_view query =
      question == std::string_view::npos ? "" : rest.substr(question + 1);
  Numbers numbers;
  if (kind == "tokens") {
    numbers = {{"n", 1000}, {"vocab", 64}, {"length", 32}, {"seed", 1}};
    read_numbers(name, query, numbers);
    if (sequence_length) numbers["length"] = *sequence_length;
    return std::make_unique<SyntheticTokens>(name, numbers);
  }
  if (kind != "image") refuse(name, fmt::format("unknown kind `{}`", kind));
  numbers = {{"n", 1000}, {"classes", 10}, {"channels", 1}, {"size", 28}, {"seed", 1}};
  read_numbers(name, query, numbers);
  return std::make_unique<SyntheticImages>(name, numbers);
}

}  // namespace trireme::data
