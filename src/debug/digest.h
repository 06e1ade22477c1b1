#pragma once

#include <trireme/debug/switches.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace trireme::debug {

/// What one rank says of one switch since the last digest.
struct SwitchDigest {
  nlohmann::json digest = {};  ///< the tool's; null: it says nothing
  std::vector<std::string> findings = {};
  int64_t findings_left_out = 0;
  std::optional<std::string> failed = {};  ///< why its tool is off there
  int64_t since_step = 0;                  ///< of what failed

  [[nodiscard]] bool empty() const {
    return digest.empty() && findings.empty() && findings_left_out == 0 && !failed;
  }
};
using RankDigest = std::map<Switch, SwitchDigest>;

/// One line of JSON, without what is empty; read_digest() is the inverse. A text that is none gives
/// an empty digest: what one rank garbles must not end the run of all.
[[nodiscard]] std::string to_text(const RankDigest& digest);
[[nodiscard]] RankDigest read_digest(std::string_view text);

/// Of the digests of all ranks, for people.
struct DigestSummary {
  std::vector<std::string> lines;  ///< of debug.jsonl, one a switch
  /// New findings, and failures of other ranks than 0, which has told its own: e.g.
  /// "gradient_norms: rank 1 on n2: h.3.mlp.c_fc.weight is not finite"; equal ones of several ranks
  /// in one line, at most 20 lines.
  std::vector<std::string> console;
};
[[nodiscard]] DigestSummary digest_summary(std::span<const std::string> by_rank, int64_t step,
                                           int64_t attempt, std::span<const std::string> hosts);

}  // namespace trireme::debug
