#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace trireme::storage {

/// An XXH3-128 hash: finds damage, does not resist forgery.
struct Hash128 {
  uint64_t high = 0;
  uint64_t low = 0;

  /// 32 lower-case digits, the high half first (as `xxh128sum` prints it).
  [[nodiscard]] std::string hex() const;
  /// The inverse of hex(); nothing for any other text.
  [[nodiscard]] static std::optional<Hash128> from_hex(std::string_view text);
  bool operator==(const Hash128&) const = default;
};

[[nodiscard]] Hash128 hash_of(std::span<const std::byte> bytes);
[[nodiscard]] Hash128 hash_of(std::string_view text);

/// The hash of bytes that arrive in pieces, however they are cut.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  void update(const void* data, size_t bytes);
  void update(std::string_view text) { update(text.data(), text.size()); }
  /// Of what came so far; more may follow.
  [[nodiscard]] Hash128 digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme::storage
