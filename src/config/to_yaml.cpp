#include <trireme/config/resolved.h>

#include "config/scalar.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>

namespace trireme::config {
namespace {

/// Texts of these characters that no rule of the core schema takes for something else may stand
/// without quotes.
bool is_plain(std::string_view text) {
  constexpr std::string_view allowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
  return !text.empty() && text[0] != '-' && text[0] != '.' &&
         text.find_first_not_of(allowed) == std::string_view::npos &&
         type_plain_scalar(text).kind == Node::Kind::text;
}

std::string text_yaml(std::string_view text) {
  return is_plain(text) ? std::string(text) : in_quotes(text);
}

/// YAML limits keys on one line to 1024 characters; longer ones need the explicit form "? key".
constexpr std::size_t longest_simple_key = 1000;

std::string key_yaml(const std::string& name) {
  const std::string text = text_yaml(name);
  return text.size() <= longest_simple_key ? text : fmt::format("? {}\n", text);
}

std::string flow(const Node& node) {
  if (node.kind == Node::Kind::number) return number_text(node.number);
  if (node.kind == Node::Kind::text) return text_yaml(node.text);
  if (node.kind != Node::Kind::list) return to_json(node);
  std::string out = "[";
  for (const Node& item : node.items) out += (out.size() > 1 ? ", " : "") + flow(item);
  return out + "]";
}

bool is_block_list(const Node& node) {
  return node.kind == Node::Kind::list && !node.items.empty() &&
         std::ranges::all_of(node.items, [](const Node& item) {
           return item.kind == Node::Kind::mapping && !item.members.empty();
         });
}

class Writer {
 public:
  explicit Writer(bool with_origins) : with_origins_(with_origins) {}

  /// `first`: what the first key's line starts with, e.g. "  - ".
  void mapping(const Node& node, std::size_t indent, std::string first) {
    for (const Member& member : node.members) {
      out_ += first + key(member.name, indent);
      first = std::string(indent, ' ');
      value(member.value, indent);
    }
  }

  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  static std::string key(const std::string& name, std::size_t indent) {
    const std::string text = key_yaml(name);
    return text.ends_with('\n') ? text + std::string(indent, ' ') + ":" : text + ":";
  }

  void value(const Node& node, std::size_t indent) {
    const std::size_t deeper = indent + 2;
    if (node.kind == Node::Kind::mapping && !node.members.empty()) {
      out_ += '\n';
      mapping(node, deeper, std::string(deeper, ' '));
    } else if (is_block_list(node)) {
      out_ += '\n';
      for (const Node& item : node.items)
        mapping(item, deeper + 2, std::string(deeper, ' ') + "- ");
    } else {
      out_ += " " + flow(node) + origin(node) + "\n";
    }
  }

  [[nodiscard]] std::string origin(const Node& node) const {
    if (!with_origins_) return "";
    std::string text = to_string(node.place);
    std::ranges::replace_if(
        text, [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
    return "  # " + text;
  }

  bool with_origins_;
  std::string out_;
};

}  // namespace

std::string to_yaml(const Resolved& resolved, bool with_origins) {
  if (resolved.root.members.empty()) return "{}\n";
  Writer writer(with_origins);
  writer.mapping(resolved.root, 0, "");
  return writer.take();
}

}  // namespace trireme::config
