#include <trireme/core/error.h>
#include <trireme/data/prepare.h>

#include "data/documents.h"
#include "data/input_file.h"
#include "data/output_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include <fmt/core.h>
#include <unistd.h>

namespace trireme::data {
namespace {

std::string with_part(const std::string& output, std::string_view part) {
  std::filesystem::path path(output);
  const std::string extension = path.has_extension() ? path.extension().string() : ".h5";
  return path.replace_extension().string() + "." + std::string(part) + extension;
}

std::string read_standard_input() {
  std::string content;
  std::string piece(1 << 20, '\0');
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw Error(ErrorKind::input_missing,
                  fmt::format("standard input: {}", std::strerror(errno)));
    if (got == 0) return content;
    content.append(piece, 0, static_cast<size_t>(got));
  }
}

TokenFile encode(const std::vector<Document>& documents, const TextOptions& text) {
  TokenFile file;
  file.vocabulary = text.tokenizer ? text.tokenizer->vocabulary : 256;
  file.tokenizer = text.tokenizer ? text.tokenizer->name : "bytes";
  for (const Document& d : documents) {
    const auto start = static_cast<int64_t>(file.tokens.size());
    if (text.tokenizer)
      text.tokenizer->encode(d.text, file.tokens);
    else
      for (const char c : d.text) file.tokens.push_back(static_cast<uint8_t>(c));
    if (static_cast<int64_t>(file.tokens.size()) > start) file.documents.push_back(start);
  }
  const bool inside = std::ranges::all_of(
      file.tokens, [&](const uint32_t token) { return token < file.vocabulary; });
  check(inside, "the tokenizer stays within its vocabulary");
  return file;
}

}  // namespace

std::string train_path(const std::string& output) {
  return with_part(output, "train");
}
std::string eval_path(const std::string& output) {
  return with_part(output, "eval");
}

std::vector<Prepared> prepare_text(const TextOptions& text, const PrepareOptions& options) {
  check_options(options);
  if (text.inputs.empty())
    throw Error(ErrorKind::usage, "no text is given", "name files, or - for standard input");
  std::vector<std::string> contents;
  int64_t total = 0;
  for (const std::string& input : text.inputs) {
    contents.push_back(input == "-" ? read_standard_input() : read_whole_file(input));
    total += static_cast<int64_t>(contents.back().size());
  }
  std::vector<Document> documents;
  for (size_t i = 0; i < contents.size(); ++i) {
    const auto cut = cut_documents(text.inputs[i], contents[i], text);
    documents.insert(documents.end(), cut.begin(), cut.end());
  }
  if (total == 0)
    throw Error(ErrorKind::data_damaged, fmt::format("{}: the text is empty", text.inputs[0]),
                "give text");
  const Split split = split_documents(documents, text);

  std::vector<Prepared> results;
  std::vector<std::unique_ptr<OutputFile>> files;
  int64_t done = 0;
  const auto write = [&](const std::string& path, const std::vector<Document>& part) {
    const TokenFile tokens = encode(part, text);
    files.push_back(std::make_unique<OutputFile>(path, options.force));
    write_tokens(*files.back(), tokens, options);
    results.push_back({path, 0, static_cast<int64_t>(tokens.tokens.size()),
                       static_cast<int64_t>(tokens.documents.size()), 0});
    for (const Document& d : part) done += static_cast<int64_t>(d.text.size());
    if (options.progress) options.progress(done, total);
  };
  write(split.eval.empty() ? options.output : train_path(options.output), split.train);
  if (!split.eval.empty()) write(eval_path(options.output), split.eval);
  for (size_t i = 0; i < files.size(); ++i) {
    try {
      results[i].bytes = files[i]->commit();
    } catch (...) {
      for (size_t j = 0; j < i; ++j) ::unlink(results[j].path.c_str());
      throw;
    }
  }
  return results;
}

}  // namespace trireme::data
