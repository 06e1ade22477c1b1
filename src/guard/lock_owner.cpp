#include <trireme/core/wall_clock.h>
#include <trireme/guard/run_lock.h>

#include "comm/boot_id.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace trireme::guard {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string variable(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? "" : text;
}

std::string job_id() {
  for (const char* name : {"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"})
    if (std::string id = variable(name); !id.empty()) return id;
  return {};
}

/// A process number says nothing on another boot of the machine or in another container.
std::string pid_scope() {
  std::error_code ignored;
  return comm::boot_id() + "/" +
         std::filesystem::read_symlink("/proc/self/ns/pid", ignored).string();
}

}  // namespace

uint64_t process_start(int64_t pid) {
  if (pid <= 0) return 0;
  const std::string stat = text_of(fmt::format("/proc/{}/stat", pid));
  // The second field is the program's name in parentheses and may hold anything; field 3 is the
  // state, 22 the start (proc(5)).
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string field;
  for (int number = 3; number <= 22; ++number) {
    if (!(fields >> field)) return 0;
    if (number == 3 && (field == "Z" || field == "X")) return 0;
  }
  uint64_t start = 0;
  std::from_chars(field.data(), field.data() + field.size(), start);
  return start;
}

LockOwner this_process() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const std::string restarts = variable("SLURM_RESTART_COUNT");  // unset on the first run
  LockOwner owner;
  owner.job = job_id();
  std::from_chars(restarts.data(), restarts.data() + restarts.size(), owner.restart);
  owner.host = host.data();
  owner.pid = getpid();
  owner.start = process_start(owner.pid);
  owner.pid_scope = pid_scope();
  owner.heartbeat = wall_clock_seconds();
  return owner;
}

std::string lock_text(const LockOwner& owner) {
  const nlohmann::ordered_json json = {{"schema", 1},
                                       {"job", owner.job},
                                       {"restart", owner.restart},
                                       {"host", owner.host},
                                       {"pid", owner.pid},
                                       {"start", owner.start},
                                       {"pid_scope", owner.pid_scope},
                                       {"heartbeat", owner.heartbeat}};
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::optional<LockOwner> parse_lock(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  try {
    LockOwner owner;
    owner.job = json.value("job", "");
    owner.restart = json.value("restart", int64_t{0});
    owner.host = json.value("host", "");
    owner.pid = json.value("pid", int64_t{0});
    owner.start = json.value("start", uint64_t{0});
    owner.pid_scope = json.value("pid_scope", "");
    owner.heartbeat = json.value("heartbeat", 0.0);
    return owner;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;  // a field of another type
  }
}

LockVerdict judge_lock(const LockOwner& owner, const LockOwner& self, uint64_t start_here) {
  if (!owner.job.empty() && owner.job == self.job && owner.restart < self.restart)
    return {false, "this job was requeued since"};
  const bool same_scope = owner.pid_scope.empty() || owner.pid_scope == self.pid_scope;
  if (owner.host == self.host && same_scope) {
    if (start_here == 0) return {false, "its process is gone"};
    if (owner.start != 0 && owner.start != start_here)
      return {false, "its process number belongs to another process now"};
    return {true, "its process runs"};
  }
  const double age = self.heartbeat - owner.heartbeat;
  const std::string heartbeat = fmt::format("its last heartbeat is {:.0f} s old", age);
  return {age < fresh_heartbeat_seconds, heartbeat};
}

LockSeen see_lock(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) return {};
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  LockSeen seen{.there = true, .owner = parse_lock(text)};
  if (seen.owner)
    seen.verdict = judge_lock(*seen.owner, this_process(), process_start(seen.owner->pid));
  return seen;
}

}  // namespace trireme::guard
