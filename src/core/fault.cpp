#include <trireme/core/error.h>
#include <trireme/core/fault.h>

#include <csignal>
#include <cstdlib>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <unistd.h>

namespace trireme::core::fault {
namespace {

constexpr int64_t largest_amount = 1 << 30;

struct Fault {
  std::string site, rank, step, action;
  int64_t turn = 0;  // 0: always
  std::shared_ptr<std::atomic<int64_t>> times = std::make_shared<std::atomic<int64_t>>(0);
};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text)
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

/// "sleep=20": the number behind the name, or nothing for another action.
std::optional<int64_t> amount(const std::string& action, std::string_view name) {
  const std::string_view text = action;
  if (text.substr(0, text.find('=')) != name) return std::nullopt;
  int64_t value = -1;
  const char* const end = text.data() + text.size();
  const char* const begin = text.data() + std::min(name.size() + 1, text.size());
  const auto [read_to, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || read_to != end || value < 0 || value > largest_amount)
    throw Error(ErrorKind::usage, "TRIREME_FAULT: '" + action + "' needs a whole number from 0 to " + std::to_string(largest_amount),
                "give sleep=MILLISECONDS or leak=MEBIBYTES");
  return value;
}

const std::vector<Fault>& faults() {
  static const std::vector<Fault> parsed = [] {
    std::vector<Fault> result;
    const char* text = std::getenv("TRIREME_FAULT");
    if (text == nullptr || *text == '\0') return result;
    for (const std::string& one : split(text, ',')) {
      const std::vector<std::string> f = split(one, ':');
      if (f.size() != 4)
        throw Error(ErrorKind::usage, "TRIREME_FAULT: '" + one + "' is not site:rank:step:action");
      Fault fault{.site = f[0], .rank = f[1], .step = f[2], .action = f[3]};
      if (const size_t mark = fault.site.find('#'); mark != std::string::npos) {
        fault.turn = std::atoll(fault.site.c_str() + mark + 1);
        if (fault.turn < 1) throw Error(ErrorKind::usage, "TRIREME_FAULT: '" + f[0] + "': turns count from 1");
        fault.site.resize(mark);
      }
      for (const char* name : {"sleep", "leak"}) (void)amount(fault.action, name);
      result.push_back(std::move(fault));
    }
    return result;
  }();
  return parsed;
}

std::atomic<int> own_rank{-1};
std::atomic<long> current_step{-1};

/// Memory that is used and never given back.
void leak(int64_t mebibytes) {
  const auto bytes = static_cast<size_t>(mebibytes) << 20;
  auto* const lost = static_cast<volatile char*>(std::malloc(bytes));
  if (lost == nullptr) return;
  for (size_t i = 0; i < bytes; i += 4096) lost[i] = 1;
}

bool matches(const std::string& pattern, long value) { return pattern == "*" || pattern == std::to_string(value); }

}  // namespace

void set_rank(int rank) { own_rank = rank; }
void set_step(long step) { current_step = step; }

Action at(std::string_view site) {
  for (const Fault& f : faults()) {
    if (f.site != site || !matches(f.rank, own_rank) || !matches(f.step, current_step)) continue;
    if (const int64_t time = ++*f.times; f.turn != 0 && time != f.turn) continue;
    if (f.action == "kill") ::kill(::getpid(), SIGKILL);
    if (f.action == "stop") ::kill(::getpid(), SIGSTOP);
    if (f.action == "segv") ::raise(SIGSEGV);
    if (f.action == "abort") std::abort();
    if (f.action == "throw")
      throw Error(ErrorKind::unexpected, "fault injected at " + f.site + ", rank " + std::to_string(own_rank) + ", step " +
                                             std::to_string(current_step));
    if (const auto milliseconds = amount(f.action, "sleep")) std::this_thread::sleep_for(std::chrono::milliseconds(*milliseconds));
    if (const auto mebibytes = amount(f.action, "leak")) leak(*mebibytes);
    if (f.action == "nan") return Action::nan;
    if (f.action == "enospc") return Action::enospc;
    if (f.action == "eio") return Action::eio;
  }
  return Action::none;
}

}  // namespace trireme::core::fault
