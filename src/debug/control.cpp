#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/core/wall_clock.h>
#include <trireme/debug/control.h>
#include <trireme/storage/durable.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iterator>
#include <system_error>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace trireme::debug {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr uintmax_t largest_request = 64 << 10;
constexpr size_t refusals_kept = 32;
constexpr std::chrono::milliseconds look_every{50};

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorKind::input_missing, "the file cannot be read");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Temporary files of replace_file() end otherwise.
std::vector<fs::path> requests_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code unreadable;
    if (entry->path().extension() == ".json" && entry->is_regular_file(unreadable))
      files.push_back(entry->path());
  }
  std::ranges::sort(files);
  return files;
}

Request request_in(const fs::path& file) {
  std::error_code error;
  const uintmax_t bytes = fs::file_size(file, error);
  if (!error && bytes > largest_request)
    throw Error(ErrorKind::usage,
                fmt::format("debug request: {} bytes are more than {}", bytes, largest_request));
  Request request = parse_request(text_of(file));
  request.id = file.stem().string();  // the asker looks for the name that it gave the file
  return request;
}

std::string new_id() {
  static std::atomic<int> count{0};  // ids of one process differ even within a millisecond
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  return fmt::format("{:014}-{:04}-{}-{}", wall_clock_ns() / 1'000'000, count++, host, ::getpid());
}

}  // namespace

std::vector<Request> ControlFolder::take() {
  std::vector<Request> requests;
  for (const fs::path& file : requests_in(paths_.requests())) {
    if (stuck_.contains(file)) continue;
    std::optional<Request> request;
    std::string why;
    try {
      request = request_in(file);
    } catch (const Error& e) {
      why = e.message() + (e.hint().empty() ? "" : "; " + e.hint());
    }
    std::error_code error;
    fs::remove(file, error);
    if (error) {
      stuck_.insert(file);
      log::warning("{} cannot be removed: {}", file.string(), error.message());
    }
    if (request)
      requests.push_back(std::move(*request));
    else
      refuse(file.stem().string(), why);
  }
  return requests;
}

void ControlFolder::refuse(const std::string& id, const std::string& why) {
  log::warning("debug request {} refused: {}", id, why);
  if (refusals_.size() >= refusals_kept) refusals_.erase(refusals_.begin());
  refusals_.emplace_back(id, why);
  untold_ = true;
}

void ControlFolder::write_status(std::string_view status, int64_t attempt, bool running) {
  Json json{
      {"schema", 1}, {"attempt", attempt}, {"time", wall_clock_seconds()}, {"running", running}};
  const Json said = Json::parse(status, nullptr, /*allow_exceptions=*/false);
  check(said.is_object(), "a debugger's status is a JSON object");
  json.update(said);
  for (const auto& [id, why] : refusals_)
    json["answers"][id] = {{"accepted", false}, {"text", why}};
  try {
    storage::make_directories(paths_.control);
    storage::replace_file(paths_.status(),
                          json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    untold_ = false;
    warned_ = false;
  } catch (const Error& e) {
    if (!std::exchange(warned_, true))
      log::warning("the status of debug switches cannot be written: {}", e.message());
  }
}

std::string submit(const ControlPaths& paths, Request request) {
  storage::make_directories(paths.requests());
  request.id = new_id();
  storage::replace_file(paths.requests() / (request.id + ".json"), to_text(request) + "\n");
  return request.id;
}

std::optional<std::string> read_status(const ControlPaths& paths) {
  try {
    std::string text = text_of(paths.status());
    if (Json::parse(text, nullptr, /*allow_exceptions=*/false).is_object()) return text;
  } catch (const Error&) {
    // There is none yet.
  }
  return std::nullopt;
}

std::optional<Answer> read_answer(const ControlPaths& paths, const std::string& id) {
  const std::optional<std::string> text = read_status(paths);
  if (!text) return std::nullopt;
  try {
    const Json status = Json::parse(*text);
    if (!status.contains("answers") || !status["answers"].contains(id)) return std::nullopt;
    const Json& answer = status["answers"][id];
    return Answer{.accepted = answer.at("accepted").get<bool>(),
                  .text = answer.at("text").get<std::string>()};
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

std::optional<Answer> wait_for_answer(const ControlPaths& paths, const std::string& id,
                                      std::chrono::milliseconds timeout,
                                      const std::function<bool()>& alive) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const bool lives = alive();  // before the look: a run that ends may have answered last
    if (std::optional<Answer> answer = read_answer(paths, id)) return answer;
    if (!lives || std::chrono::steady_clock::now() >= deadline) return std::nullopt;
    std::this_thread::sleep_for(look_every);
  }
}

}  // namespace trireme::debug
