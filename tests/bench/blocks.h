#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

// How the programs of this folder time: warm up, then equal blocks of steps. One line of JSON comes
// out; run.py alternates programs and takes medians.
namespace trireme::bench {

/// `--name value` pairs, and words without a name in their order.
class Arguments {
 public:
  Arguments(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      if (word.rfind("--", 0) == 0 && i + 1 < argc)
        named_[word.substr(2)] = argv[++i];
      else
        words_.push_back(word);
    }
  }
  [[nodiscard]] int64_t number(const std::string& name, int64_t otherwise) const {
    const auto found = named_.find(name);
    return found == named_.end() ? otherwise : std::stoll(found->second);
  }
  [[nodiscard]] const std::vector<std::string>& words() const { return words_; }

 private:
  std::map<std::string, std::string> named_;
  std::vector<std::string> words_;
};

struct Plan {
  int64_t warmup = 10;  ///< steps before the first block
  int64_t blocks = 5;
  int64_t steps = 20;  ///< of a block
  Plan overridden(const Arguments& arguments) const {
    return {arguments.number("warmup", warmup), arguments.number("blocks", blocks),
            arguments.number("steps", steps)};
  }
};

class Clock {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// Seconds of one `step` in each block. `untimed` runs before every step, off the clock.
template <class Step, class Untimed>
std::vector<double> measure(const Plan& plan, Step step, Untimed untimed) {
  std::vector<double> seconds;
  for (int64_t i = 0; i < plan.warmup; ++i) {
    untimed();
    step();
  }
  for (int64_t block = 0; block < plan.blocks; ++block) {
    double total = 0;
    for (int64_t i = 0; i < plan.steps; ++i) {
      untimed();
      const Clock clock;
      step();
      total += clock.seconds();
    }
    seconds.push_back(total / static_cast<double>(plan.steps));
  }
  return seconds;
}

/// The same with one reading of the clock a block, for short steps.
template <class Step>
std::vector<double> measure(const Plan& plan, Step step) {
  std::vector<double> seconds;
  for (int64_t i = 0; i < plan.warmup; ++i) step();
  for (int64_t block = 0; block < plan.blocks; ++block) {
    const Clock clock;
    for (int64_t i = 0; i < plan.steps; ++i) step();
    seconds.push_back(clock.seconds() / static_cast<double>(plan.steps));
  }
  return seconds;
}

template <class Change>
std::vector<double> changed(std::vector<double> values, Change change) {
  std::transform(values.begin(), values.end(), values.begin(), change);
  return values;
}

/// Median, extremes and (max - min) / median over blocks.
inline nlohmann::json summary(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  const double median = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  return {{"median", median},
          {"min", values.front()},
          {"max", values.back()},
          {"spread", (values.back() - values.front()) / median}};
}

inline void report(const std::string& bench, nlohmann::json figures) {
  figures["bench"] = bench;
  std::printf("%s\n", figures.dump().c_str());
  std::fflush(stdout);
}

}  // namespace trireme::bench
