#include <trireme/storage/hash.h>

#include <charconv>

#include <fmt/core.h>
// Compiled in, it uses the vector instructions of this build.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace trireme::storage {

struct Hasher::State {
  XXH3_state_t xxh;
};

namespace {

Hash128 from_xxh(XXH128_hash_t hash) {
  return {hash.high64, hash.low64};
}

std::optional<uint64_t> digits(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

}  // namespace

std::string Hash128::hex() const {
  return fmt::format("{:016x}{:016x}", high, low);
}

std::optional<Hash128> Hash128::from_hex(std::string_view text) {
  if (text.size() != 32) return {};
  const auto high = digits(text.substr(0, 16));
  const auto low = digits(text.substr(16));
  if (!high || !low) return {};
  const Hash128 hash{*high, *low};
  if (hash.hex() != text) return {};
  return hash;
}

Hash128 hash_of(std::span<const std::byte> bytes) {
  return from_xxh(XXH3_128bits(bytes.data(), bytes.size()));
}

Hash128 hash_of(std::string_view text) {
  return from_xxh(XXH3_128bits(text.data(), text.size()));
}

Hasher::Hasher() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(&state_->xxh);
}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::update(const void* data, size_t bytes) {
  XXH3_128bits_update(&state_->xxh, data, bytes);
}

Hash128 Hasher::digest() const {
  return from_xxh(XXH3_128bits_digest(&state_->xxh));
}

}  // namespace trireme::storage
