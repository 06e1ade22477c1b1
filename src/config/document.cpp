#include <trireme/config/document.h>

#include "config/merge.h"
#include "config/override.h"
#include "config/yaml.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace trireme::config {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_chain = 16;

/// `asked_at`: where an `extends` names the file, or empty.
std::string read_text(const std::string& file, const std::string& asked_at) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::input_missing, fmt::format("{}{}: {}", asked_at, file, why),
                asked_at.empty() ? "check the path of the configuration file"
                                 : "extends is relative to the file that says it");
  };
  std::error_code error;
  if (fs::is_directory(file, error)) refuse("is a directory");
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) refuse(std::generic_category().message(errno));
  std::string text(most_bytes + 1,
                   '\0');  // one more than allowed, so that the parser sees the excess
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) refuse("cannot be read");
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return text;
}

class Chain {
 public:
  Chain(std::vector<Problem>& problems, std::vector<std::string>& files)
      : problems_(problems), files_(files) {}

  Node read(const std::string& file, const std::string& asked_at) {
    return with_base(read_text(file, asked_at), file);
  }

  Node with_base(std::string_view text, const std::string& file) {
    open_.push_back({file, identity_of(file)});
    Node own = parse_yaml(text, file, problems_);
    if (own.kind == Node::Kind::null) {
      const Place place = own.place;
      own = make_mapping();
      own.place = place;
    }
    if (own.kind != Node::Kind::mapping) {
      fail({own.place, "", "a configuration is a mapping", "write lines like \"run: {seed: 42}\""});
    }
    Node whole = base_of(own, file);
    files_.push_back(file);
    open_.pop_back();
    if (whole.kind != Node::Kind::mapping) return own;
    merge(whole, std::move(own));
    return whole;
  }

 private:
  struct Open {
    std::string file;
    fs::path identity;
  };

  static fs::path identity_of(const std::string& file) {
    std::error_code error;
    const fs::path path = fs::weakly_canonical(file, error);
    return error ? fs::path(file) : path;
  }

  [[noreturn]] void fail(Problem problem) {
    problems_.push_back(std::move(problem));
    throw to_error(std::move(problems_));
  }

  /// Takes `extends` out of the mapping and reads what it names; null without one.
  Node base_of(Node& own, const std::string& file) {
    const auto found = std::ranges::find(own.members, "extends", &Member::name);
    if (found == own.members.end()) return make_null();
    const Node value = found->value;
    own.members.erase(found);
    if (value.kind != Node::Kind::text || value.text.empty()) {
      fail({value.place, "extends", "expected the name of a file", "write extends: other.yaml"});
    }
    const std::string base =
        (fs::path(file).parent_path() / value.text).lexically_normal().string();
    const fs::path identity = identity_of(base);
    if (std::ranges::find(open_, identity, &Open::identity) != open_.end()) {
      std::string way;
      for (const Open& open : open_) way += open.file + " -> ";
      fail({value.place, "extends", fmt::format("the files extend each other: {}{}", way, base),
            "remove one extends"});
    }
    if (open_.size() >= longest_chain) {
      fail({value.place, "extends", fmt::format("more than {} files in a chain", longest_chain),
            ""});
    }
    return read(base, to_string(value.place) + ": extends: ");
  }

  std::vector<Problem>& problems_;
  std::vector<std::string>& files_;
  std::vector<Open> open_;
};

}  // namespace

Document Document::load(const std::string& file) {
  Document document;
  document.root_ = Chain(document.problems_, document.files_).read(file, "");
  return document;
}

Document Document::parse(std::string_view text, const std::string& name) {
  Document document;
  document.root_ = Chain(document.problems_, document.files_).with_base(text, name);
  return document;
}

void Document::apply(const std::vector<std::string>& overrides) {
  for (const std::string& assignment : overrides) apply_override(root_, assignment, problems_);
}

}  // namespace trireme::config
