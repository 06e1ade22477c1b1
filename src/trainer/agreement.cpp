#include "trainer/agreement.h"

#include <map>
#include <new>
#include <optional>
#include <sstream>

#include <fmt/format.h>

namespace trireme::trainer {
namespace {

std::map<std::string, std::string> lines_of(const std::string& text) {
  std::map<std::string, std::string> result;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const size_t equals = line.find(" = ");
    if (equals == std::string::npos)
      result[line] = "(present)";
    else
      result[line.substr(0, equals)] = line.substr(equals + 3);
  }
  return result;
}

std::string name_ranks(const std::vector<size_t>& ranks) {
  constexpr size_t shown = 8;
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size() && i < shown; ++i) text += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
  if (ranks.size() > shown) text += fmt::format(" and {} more", ranks.size() - shown);
  return text;
}

}  // namespace

std::vector<std::string> differences_between_ranks(const std::vector<std::string>& texts) {
  std::vector<std::map<std::string, std::string>> ranks;
  std::map<std::string, std::nullptr_t> keys;
  for (const std::string& text : texts) {
    ranks.push_back(lines_of(text));
    for (const auto& [key, value] : ranks.back()) keys.emplace(key, nullptr);
  }
  std::vector<std::string> differences;
  for (const auto& [key, unused] : keys) {
    std::map<std::string, std::vector<size_t>> holders;
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      const auto found = ranks[rank].find(key);
      holders[found == ranks[rank].end() ? "(absent)" : found->second].push_back(rank);
    }
    if (holders.size() == 1) continue;
    std::string line = key + ":";
    const char* separator = " ";
    for (const auto& [value, who] : holders) {
      line += fmt::format("{}{} on {}", separator, value, name_ranks(who));
      separator = "; ";
    }
    differences.push_back(std::move(line));
  }
  return differences;
}

void require_equal(comm::Communicator& all, std::string_view what, const std::string& text, const std::string& hint) {
  const std::vector<std::string> differences = differences_between_ranks(all.all_gather_bytes(text));
  if (differences.empty()) return;
  constexpr size_t shown = 10;
  std::string message = fmt::format("the ranks were started with different {}:", what);
  for (size_t i = 0; i < differences.size() && i < shown; ++i) message += "\n  " + differences[i];
  if (differences.size() > shown) message += fmt::format("\n  and {} more", differences.size() - shown);
  throw Error(ErrorKind::ranks_differ, message, hint);
}

std::string on_rank_0(comm::Communicator& all, const std::function<std::string()>& action) {
  // One byte says how it went; an error travels as kind, message and hint.
  constexpr char succeeded = '+', failed = '-', separator = '\0';
  std::string outcome;
  if (all.rank() == 0) {
    try {
      outcome = succeeded + action();
    } catch (const Error& e) {
      outcome = failed + std::to_string(static_cast<int>(e.kind())) + separator + e.message() + separator + e.hint();
    } catch (const std::bad_alloc&) {
      outcome = failed + std::to_string(static_cast<int>(ErrorKind::out_of_memory)) + separator + "rank 0 ran out of memory" + separator;
    } catch (const std::exception& e) {
      outcome = failed + std::to_string(static_cast<int>(ErrorKind::unexpected)) + separator + e.what() + separator;
    }
  }
  outcome = all.broadcast_bytes(outcome, 0);
  check(!outcome.empty(), "rank 0 says how it went");
  if (outcome[0] == succeeded) return outcome.substr(1);
  const size_t first = outcome.find(separator), second = outcome.find(separator, first + 1);
  throw Error(static_cast<ErrorKind>(std::stoi(outcome.substr(1, first - 1))), outcome.substr(first + 1, second - first - 1),
              outcome.substr(second + 1));
}

}  // namespace trireme::trainer
