#include "telemetry/backtrace.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <string_view>

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <fmt/core.h>

namespace trireme::telemetry {
namespace {

constexpr size_t most_frames = 96;

std::string demangled(const char* symbol) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(symbol, nullptr, nullptr, &status), &std::free);
  return status == 0 && text != nullptr ? text.get() : symbol;
}

std::string look_up(int64_t address) {
  // A return address may be the first of the next function: the call lies before it.
  const auto call = static_cast<uintptr_t>(address) - 1;
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(call), &info) == 0) return fmt::format("{:#x}", call);
  if (info.dli_sname != nullptr) return demangled(info.dli_sname);
  const std::string_view file = info.dli_fname == nullptr ? "" : info.dli_fname;
  return fmt::format("{}+{:#x}", file.substr(file.rfind('/') + 1),
                     call - reinterpret_cast<uintptr_t>(info.dli_fbase));
}

}  // namespace

size_t capture_backtrace(int64_t* to, size_t room, size_t skip) {
  std::array<void*, most_frames> frames{};
  ++skip;  // this function
  const int most = static_cast<int>(std::min(frames.size(), room + skip));
  const auto found = static_cast<size_t>(backtrace(frames.data(), most));
  size_t kept = 0;
  for (size_t i = skip; i < found; ++i)
    to[kept++] = static_cast<int64_t>(reinterpret_cast<intptr_t>(frames[i]));
  return kept;
}

const std::string& Symbols::name(int64_t address) {
  const auto [found, is_new] = names_.try_emplace(address);
  if (is_new) found->second = look_up(address);
  return found->second;
}

std::string Symbols::text(std::span<const int64_t> addresses) {
  std::string text;
  for (const int64_t address : addresses) {
    if (!text.empty()) text += '\n';
    text += name(address);
  }
  return text;
}

}  // namespace trireme::telemetry
