#pragma once

#include "data/data_file.h"
#include "data/store.h"

#include <memory>
#include <string>
#include <vector>

namespace trireme::data {

/// Sequences of T tokens and their successors from a token file: sample k spans tokens [k*T,
/// k*T+T+1). Fields `tokens` and `targets` (int64 [T]) and, where the file has it, `loss_mask`
/// (float32 [T]): for each target whether the loss counts it.
class TokenStore final : public SampleStore {
 public:
  /// Errors: data_damaged (type, shape, attributes), input_missing (no `tokens`).
  TokenStore(std::shared_ptr<const DataFile> file, int64_t sequence_length);

  [[nodiscard]] const std::string& name() const override { return file_->path(); }
  [[nodiscard]] int64_t size() const override { return samples_; }
  [[nodiscard]] const std::vector<FieldSpec>& fields() const override { return fields_; }
  void read(int64_t sample, std::span<std::byte* const> rows) const override;
  [[nodiscard]] Properties properties() const override;
  [[nodiscard]] std::string fingerprint() const override { return file_->fingerprint(); }
  [[nodiscard]] int64_t token_count() const { return tokens_->description().rows(); }

 private:
  // `first` is the position of tokens[0]; `after` is the token that follows the window's.
  [[noreturn]] void refuse_token(const int64_t* tokens, int64_t after, int64_t first) const;

  std::shared_ptr<const DataFile> file_;
  const Column* tokens_;
  const Column* mask_ = nullptr;
  int64_t length_;
  int64_t vocabulary_;
  int64_t samples_;
  std::vector<FieldSpec> fields_;
};

}  // namespace trireme::data
