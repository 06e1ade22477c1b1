#include "config/yaml.h"

#include "config/scalar.h"
#include "config/utf8.h"

#include <algorithm>
#include <map>
#include <memory>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <libfyaml.h>

namespace trireme::config {
namespace {

struct DestroyDiagnostics {
  void operator()(fy_diag* diagnostics) const {
    fy_diag_reset_error(diagnostics);  // frees the collected errors, which unref alone does not
    fy_diag_unref(diagnostics);
  }
};
struct DestroyParser {
  void operator()(fy_parser* parser) const { fy_parser_destroy(parser); }
};
struct FreeEvent {
  fy_parser* parser = nullptr;
  void operator()(fy_event* event) const { fy_parser_event_free(parser, event); }
};
using Event = std::unique_ptr<fy_event, FreeEvent>;

/// libfyaml as a source of events. Its errors are collected, never printed.
class Events {
 public:
  explicit Events(std::string_view text) {
    fy_diag_cfg settings{};
    fy_diag_cfg_default(&settings);
    settings.fp = nullptr;
    settings.output_fn = [](fy_diag*, void*, const char*, std::size_t) {
    };
    settings.level = FYET_ERROR;
    diagnostics_.reset(fy_diag_create(&settings));
    check(diagnostics_ != nullptr, "libfyaml creates diagnostics");
    fy_diag_set_collect_errors(diagnostics_.get(), true);

    fy_parse_cfg parse{};
    parse.flags = static_cast<fy_parse_cfg_flags>(FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE |
                                                  FYPCF_DISABLE_RECYCLING);
    parse.diag = diagnostics_.get();
    parser_.reset(fy_parser_create(&parse));
    check(parser_ != nullptr && fy_parser_set_string(parser_.get(), text.data(), text.size()) == 0,
          "libfyaml creates a parser");
  }

  /// Null at the end and after an error.
  [[nodiscard]] Event next() { return {fy_parser_parse(parser_.get()), {parser_.get()}}; }

  [[nodiscard]] const fy_diag_error* error() const {
    void* position = nullptr;
    return fy_diag_errors_iterate(diagnostics_.get(), &position);
  }

 private:
  std::unique_ptr<fy_diag, DestroyDiagnostics> diagnostics_;
  std::unique_ptr<fy_parser, DestroyParser> parser_;
};

std::string text_of(fy_token* token) {
  std::size_t size = 0;
  const char* text = token ? fy_token_get_text(token, &size) : nullptr;
  return text ? std::string(text, size) : std::string();
}

struct Extent {
  std::size_t nodes = 1;
  int depth = 1;
};
Extent extent_of(const Node& node) {
  Extent all;
  const auto add = [&](const Node& inner) {
    const Extent part = extent_of(inner);
    all.nodes += part.nodes;
    all.depth = std::max(all.depth, part.depth + 1);
  };
  for (const Node& item : node.items) add(item);
  for (const Member& member : node.members) add(member.value);
  return all;
}

class Builder {
 public:
  Builder(std::string_view text, const std::string& source, std::vector<Problem>& problems)
      : events_(text), source_(std::make_shared<const std::string>(source)), problems_(problems) {
    last_ = {source_, 1, 1};
  }

  Node build() {
    Node root;
    root.place = last_;
    bool seen = false;
    for (Event event = next(); event->type != FYET_STREAM_END; event = next()) {
      if (event->type != FYET_DOCUMENT_START) continue;
      if (seen)
        fail(last_, "a second document starts after this place",
             "a configuration is one YAML document");
      seen = true;
      root = value(next(), 1);
      const Event end = next();
      check(end->type == FYET_DOCUMENT_END, "a YAML document ends after its root");
    }
    return root;
  }

 private:
  [[noreturn]] void fail(const Place& place, std::string message, std::string hint = {}) {
    problems_.push_back({place, "", std::move(message), std::move(hint)});
    throw to_error(std::move(problems_));
  }

  Event next() {
    Event event = events_.next();
    if (event && !events_.error()) return event;
    const fy_diag_error* error = events_.error();
    if (!error) fail(last_, "YAML syntax error after this place");
    const Place place = error->line > 0 ? Place{source_, error->line, error->column} : last_;
    fail(place, fmt::format("YAML syntax error: {}", error->msg ? error->msg : "unknown"));
  }

  /// Tokens of empty values have no place: then the last one stands in.
  Place place_of(fy_token* token) {
    const fy_mark* mark = token ? fy_token_start_mark(token) : nullptr;
    if (!mark) return last_;
    // The marks of quoted scalars lie behind the quote.
    const fy_scalar_style style = fy_token_scalar_style(token);
    const bool is_quoted = fy_token_get_type(token) == FYTT_SCALAR &&
                           (style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED);
    last_ = {source_, mark->line + 1, mark->column + (is_quoted ? 0 : 1)};
    return last_;
  }

  void count(const Place& place, std::size_t nodes) {
    nodes_ += nodes;
    if (nodes_ > most_nodes) {
      fail(place, fmt::format("more than {} values", most_nodes),
           "aliases count as what they stand for");
    }
  }

  void refuse_tag(fy_token* tag) {
    if (!tag) return;
    const Place place = place_of(tag);
    problems_.push_back({place, "", fmt::format("the tag {} is not supported", text_of(tag)),
                         "put a value in quotes to make it a text"});
  }

  Node value(const Event& event, int depth) {
    Node node;
    fy_token* anchor = nullptr;
    switch (event->type) {
      case FYET_SCALAR:
        refuse_tag(event->scalar.tag);
        anchor = event->scalar.anchor;
        node = scalar(event->scalar.value);
        break;
      case FYET_SEQUENCE_START:
        refuse_tag(event->sequence_start.tag);
        anchor = event->sequence_start.anchor;
        node = sequence(place_of(event->sequence_start.sequence_start), depth);
        break;
      case FYET_MAPPING_START:
        refuse_tag(event->mapping_start.tag);
        anchor = event->mapping_start.anchor;
        node = mapping(place_of(event->mapping_start.mapping_start), depth);
        break;
      case FYET_ALIAS:
        return alias(event->alias.anchor, depth);
      default:
        check(false, "a YAML value is a scalar, sequence, mapping or alias");
    }
    if (anchor) anchors_[text_of(anchor)] = node;
    return node;
  }

  Node scalar(fy_token* token) {
    const Place place = place_of(token);
    count(place, 1);
    const bool plain = !token || fy_token_scalar_style(token) == FYSS_PLAIN;
    Node node = plain ? type_plain_scalar(text_of(token)) : make_text(text_of(token));
    node.place = place;
    return node;
  }

  void enter(const Place& place, int depth) {
    count(place, 1);
    if (depth > deepest_nesting) {
      fail(place, fmt::format("nested more than {} levels deep", deepest_nesting));
    }
  }

  Node sequence(const Place& place, int depth) {
    enter(place, depth);
    Node node = make_list({});
    for (Event event = next(); event->type != FYET_SEQUENCE_END; event = next()) {
      node.items.push_back(value(event, depth + 1));
    }
    node.place = place;
    return node;
  }

  Node mapping(const Place& place, int depth) {
    enter(place, depth);
    Node node = make_mapping();
    std::unordered_set<std::string> names;
    for (Event event = next(); event->type != FYET_MAPPING_END; event = next()) {
      Member member;
      if (event->type != FYET_SCALAR || !event->scalar.value) {
        fail(last_, "a key after this place is empty, an alias or no scalar",
             "keys are plain words");
      }
      member.place = place_of(event->scalar.value);
      member.name = text_of(event->scalar.value);
      if (event->scalar.tag || event->scalar.anchor) {
        fail(member.place, fmt::format("the key {} has a tag or an anchor", member.name),
             "keys are plain words");
      }
      path_.push_back(member.name);
      member.value = value(next(), depth + 1);
      if (names.insert(member.name).second) {
        node.members.push_back(std::move(member));
      } else {
        problems_.push_back(
            {member.place, fmt::format("{}", fmt::join(path_, ".")), "duplicate key",
             fmt::format("it is first set at {}", to_string(node.find(member.name)->place))});
      }
      path_.pop_back();
    }
    node.place = place;
    return node;
  }

  Node alias(fy_token* token, int depth) {
    const Place place = place_of(token);
    const std::string name = text_of(token);
    // An anchor is known from its end on, so an alias inside of its own anchor is refused here.
    const auto found = anchors_.find(name);
    if (found == anchors_.end()) {
      fail(place, fmt::format("there is no anchor &{} before this alias", name),
           "a text that starts with * needs quotes");
    }
    const Extent extent = extent_of(found->second);
    count(place, extent.nodes);
    if (depth - 1 + extent.depth > deepest_nesting + 1) {
      fail(place, fmt::format("nested more than {} levels deep", deepest_nesting));
    }
    Node node = found->second;
    node.place = place;
    return node;
  }

  Events events_;
  std::shared_ptr<const std::string> source_;
  std::vector<Problem>& problems_;
  Place last_;
  std::size_t nodes_ = 0;
  std::map<std::string, Node> anchors_;
  std::vector<std::string> path_;
};

void check_text(std::string_view text, const std::string& source, std::vector<Problem>& problems) {
  const auto name = std::make_shared<const std::string>(source);
  if (text.size() > most_bytes) {
    problems.push_back({{name, 0, 0},
                        "",
                        fmt::format("larger than {} bytes", most_bytes),
                        "this is no configuration file"});
    throw to_error(std::move(problems));
  }
  const std::size_t bad = first_bad_byte(text);
  if (bad == std::string_view::npos) return;
  const std::string_view before = text.substr(0, bad);
  const auto line = std::ranges::count(before, '\n') + 1;
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  problems.push_back(
      {{name, static_cast<int>(line), static_cast<int>(bad - line_start) + 1},
       "",
       fmt::format("byte 0x{:02x} is not allowed here", static_cast<unsigned char>(text[bad])),
       "configurations are UTF-8 text"});
  throw to_error(std::move(problems));
}

}  // namespace

Node parse_yaml(std::string_view text, const std::string& source, std::vector<Problem>& problems) {
  check_text(text, source, problems);
  return Builder(text, source, problems).build();
}

}  // namespace trireme::config
