#include "debug/digest.h"

#include <trireme/debug/request.h>
#include <trireme/debug/sample_ids.h>

#include "debug/journal.h"

#include <charconv>
#include <utility>

#include <fmt/format.h>

namespace trireme::debug {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t console_lines = 20;

/// What ranks say in the same words.
class Sayings {
 public:
  void add(const std::string& text, int rank) {
    for (auto& [said, ranks] : sayings_)
      if (said == text) {
        ranks.push_back(rank);
        return;
      }
    sayings_.push_back({text, {rank}});
  }
  void print(Switch which, std::span<const std::string> hosts, std::vector<std::string>& to) const {
    for (const auto& [text, ranks] : sayings_) {
      const std::string who = ranks.size() > 1
                                  ? ranks_text(ranks)
                                  : fmt::format("rank {} on {}", ranks[0],
                                                static_cast<size_t>(ranks[0]) < hosts.size()
                                                    ? hosts[static_cast<size_t>(ranks[0])]
                                                    : "an unknown host");
      to.push_back(fmt::format("{}: {}: {}", name_of(which), who, text));
    }
  }

 private:
  std::vector<std::pair<std::string, std::vector<int>>> sayings_;
};

uint64_t from_hex(const std::string& text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

/// Whether the ranks together evaluated each sample once; nothing if not all of them say what they did.
std::optional<std::string> evaluation_problem(const Json& by_rank, size_t ranks) {
  if (by_rank.size() != ranks) return std::nullopt;
  SampleIds all;
  int64_t dataset = 0;
  for (const auto& [rank, digest] : by_rank.items()) {
    if (!digest.contains("ids") && digest.value("samples_here", int64_t{-1}) != 0) return std::nullopt;
    dataset = digest.value("dataset", int64_t{0});
    if (!digest.contains("ids")) continue;
    const Json& ids = digest["ids"];
    all += SampleIds{.count = ids.value("count", uint64_t{0}),
                     .sum = from_hex(ids.value("sum", "")),
                     .exclusive_or = from_hex(ids.value("exclusive_or", ""))};
  }
  return problem_of(all, dataset);
}

SwitchDigest read_one(const nlohmann::json& json) {
  SwitchDigest one;
  one.digest = json.value("digest", nlohmann::json());
  one.findings = json.value("findings", std::vector<std::string>());
  one.findings_left_out = json.value("left_out", int64_t{0});
  if (json.contains("failed")) one.failed = json["failed"].get<std::string>();
  one.since_step = json.value("since_step", int64_t{0});
  return one;
}

/// Figures of each parameter, which may be hundreds, stay where the first rank has them: the others of
/// a data-parallel run have the same.
void leave_out_repetitions(Json& ranks) {
  for (const char* const key : {"norms", "update_ratios"}) {
    const Json* first = nullptr;
    for (Json& digest : ranks) {
      const auto figures = digest.is_object() ? digest.find(key) : digest.end();
      if (figures == digest.end()) continue;
      if (first != nullptr && *first == *figures)
        digest.erase(key);
      else if (first == nullptr)
        first = &*figures;
    }
  }
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string to_text(const RankDigest& digest) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [which, one] : digest) {
    if (one.empty()) continue;
    nlohmann::json& item = json[std::string(name_of(which))] = nlohmann::json::object();
    if (!one.digest.empty()) item["digest"] = one.digest;
    if (!one.findings.empty()) item["findings"] = one.findings;
    if (one.findings_left_out > 0) item["left_out"] = one.findings_left_out;
    if (one.failed) {
      item["failed"] = *one.failed;
      item["since_step"] = one.since_step;
    }
  }
  return line_of(std::move(json));
}

RankDigest read_digest(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return {};
  RankDigest digest;
  try {
    for (const auto& [name, value] : json.items())
      if (const std::optional<Switch> which = switch_named(name))
        digest.emplace(*which, read_one(value));
  } catch (const nlohmann::json::exception&) {
    return {};
  }
  return digest;
}

DigestSummary digest_summary(std::span<const std::string> by_rank, int64_t step, int64_t attempt,
                             std::span<const std::string> hosts) {
  struct Line {
    Json ranks = Json::object();
    Json findings = Json::array();
    Json failed = Json::array();
    int64_t left_out = 0;
    Sayings sayings;
    std::string over_ranks;  // what no rank can see alone
  };
  std::map<Switch, Line> of_switch;
  for (size_t rank = 0; rank < by_rank.size(); ++rank) {
    for (const auto& [which, one] : read_digest(by_rank[rank])) {
      Line& line = of_switch[which];
      const auto said = [&](const std::string& text) {
        return Json{
            {"rank", rank}, {"host", rank < hosts.size() ? hosts[rank] : ""}, {"text", text}};
      };
      if (!one.digest.empty()) line.ranks[std::to_string(rank)] = one.digest;
      for (const std::string& text : one.findings) {
        line.findings.push_back(said(text));
        line.sayings.add(text, static_cast<int>(rank));
      }
      if (one.failed) {
        line.failed.push_back(said(*one.failed));
        if (rank != 0)  // rank 0 has said so at once
          line.sayings.add("failed and is off there: " + *one.failed, static_cast<int>(rank));
      }
      line.left_out += one.findings_left_out;
    }
  }

  if (const auto validation = of_switch.find(Switch::validation); validation != of_switch.end()) {
    Line& line = validation->second;
    if (const auto problem = evaluation_problem(line.ranks, by_rank.size())) {
      line.findings.push_back(Json{{"rank", nullptr}, {"host", ""}, {"text", *problem}});
      line.over_ranks = fmt::format("{}: all ranks together: {}", name_of(Switch::validation), *problem);
    }
  }

  DigestSummary summary;
  int64_t left_out = 0;
  for (auto& [which, line] : of_switch) {
    leave_out_repetitions(line.ranks);
    Json json{{"schema", 1}, {"attempt", attempt}, {"step", step}, {"switch", name_of(which)}};
    json["ranks"] = line.ranks;
    json["findings"] = line.findings;
    if (line.left_out > 0) json["findings_left_out"] = line.left_out;
    if (!line.failed.empty()) json["failed"] = line.failed;
    summary.lines.push_back(dump(json));
    if (!line.over_ranks.empty()) summary.console.push_back(line.over_ranks);
    line.sayings.print(which, hosts, summary.console);
    left_out += line.left_out;
  }
  if (summary.console.size() > console_lines) {
    left_out += static_cast<int64_t>(summary.console.size() - console_lines);
    summary.console.resize(console_lines);
  }
  if (left_out > 0)
    summary.console.push_back(fmt::format("{} more findings: see logs/debug", left_out));
  return summary;
}

}  // namespace trireme::debug
