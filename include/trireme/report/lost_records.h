#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace trireme::report {

/// Counts the records that could not be written, and when it is time to tell of them: at the first
/// one, then at most once a minute.
class LostRecords {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds tell_every{60};

  /// One more; returns whether to tell now.
  [[nodiscard]] bool add(Clock::time_point now) {
    ++count_;
    if (told_ && now - *told_ < tell_every) return false;
    told_ = now;
    return true;
  }
  [[nodiscard]] int64_t count() const { return count_; }

 private:
  int64_t count_ = 0;
  std::optional<Clock::time_point> told_;
};

/// Runs `write`. If that throws an Error of kind `storage` the record is lost: counted, and told of
/// in the log when it is time to. `what`: "a record is", the beginning of that sentence.
void write_or_lose(LostRecords& lost, std::string_view what, const std::function<void()>& write);

}  // namespace trireme::report
