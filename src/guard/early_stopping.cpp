#include <trireme/core/error.h>
#include <trireme/guard/early_stopping.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace trireme::guard {
namespace {

/// "step:bits step:bits ...": the bits of the double in hexadecimal, so that nan and every last bit
/// survive.
std::string encode(const std::vector<EarlyStopping::Evaluation>& history) {
  std::string text;
  for (const auto& one : history)
    text += fmt::format("{}{}:{:x}", text.empty() ? "" : " ", one.step,
                        std::bit_cast<uint64_t>(one.value));
  return text;
}

std::vector<EarlyStopping::Evaluation> decode(std::string_view text) {
  const auto damaged = [] {
    return Error(ErrorKind::no_checkpoint,
                 "early_stopping/history of the checkpoint cannot be read",
                 "resume from another checkpoint");
  };
  std::vector<EarlyStopping::Evaluation> history;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    int64_t step = 0;
    uint64_t bits = 0;
    const auto first = std::from_chars(at, end, step);
    if (first.ec != std::errc{} || first.ptr == end || *first.ptr != ':') throw damaged();
    const auto second = std::from_chars(first.ptr + 1, end, bits, 16);
    if (second.ec != std::errc{} || (second.ptr != end && *second.ptr != ' ')) throw damaged();
    history.push_back({step, std::bit_cast<double>(bits)});
    at = second.ptr == end ? end : second.ptr + 1;
  }
  return history;
}

}  // namespace

EarlyStopping::EarlyStopping(Mode mode, std::optional<int64_t> patience)
    : mode_(mode), patience_(patience) {}

bool EarlyStopping::better(double value) const {
  if (!std::isfinite(value)) return false;
  if (!best_) return true;
  return mode_ == Mode::min ? value < best_->value : value > best_->value;
}

EarlyStopping::Decision EarlyStopping::observe(int64_t step, double value) {
  history_.push_back({step, value});
  if (better(value)) {
    best_ = Evaluation{step, value};
    waited_ = 0;
    return {.improved = true, .stop = false};
  }
  ++waited_;
  return {.improved = false, .stop = exhausted()};
}

bool EarlyStopping::exhausted() const { return patience_ && waited_ > 0 && waited_ >= *patience_; }

void EarlyStopping::save_state(core::StateWriter& out) const {
  out.scalar("early_stopping/history", encode(history_));
}

void EarlyStopping::load_state(const core::StateReader& in) {
  // Everything else follows from the history, also when mode or patience were changed for the
  // resume.
  const std::vector<Evaluation> stored = decode(in.text("early_stopping/history"));
  best_.reset();
  waited_ = 0;
  history_.clear();
  for (const Evaluation& one : stored) observe(one.step, one.value);
}

}  // namespace trireme::guard
