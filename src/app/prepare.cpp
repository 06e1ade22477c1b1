#include <CLI/CLI.hpp>

#include <cstdio>

#include <memory>

#include <unistd.h>

#include "app/commands.h"

#include <trireme/core/error.h>
#include <trireme/data/prepare.h>

#include <fmt/format.h>

namespace trireme::app {
namespace {

using data::PrepareOptions;

/// The options that every format has, and the format's own.
template <class Format>
struct Arguments {
  PrepareOptions options;
  Format format;
};

template <class Format>
std::shared_ptr<Arguments<Format>> common(CLI::App& command) {
  auto arguments = std::make_shared<Arguments<Format>>();
  command.add_option("-o,--output", arguments->options.output, "HDF5 file to write")->required();
  command.add_flag("--force", arguments->options.force, "replace existing files");
  command.add_option("--compress", arguments->options.compress, "deflate level 1 to 9; 0: contiguous, read by memory map")
      ->check(CLI::Range(0, 9));
  return arguments;
}

PrepareOptions with_progress(PrepareOptions options) {
  if (::isatty(STDERR_FILENO) != 0)
    options.progress = [](int64_t done, int64_t total) {
      if (total > 0) fmt::print(stderr, "\r{:3.0f} %", 100.0 * static_cast<double>(done) / static_cast<double>(total));
      if (done >= total) fmt::print(stderr, "\r     \r");
    };
  return options;
}

void report(const data::Prepared& made) {
  if (made.tokens > 0)
    fmt::print("{}: {} tokens in {} document{}, {} bytes\n", made.path, made.tokens, made.documents,
               made.documents == 1 ? "" : "s", made.bytes);
  else
    fmt::print("{}: {} samples, {} bytes\n", made.path, made.samples, made.bytes);
}

void add_text(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand("text", "Text files to tokens; each byte is a token");
  auto a = common<data::TextOptions>(*command);
  command->add_option("inputs", a->format.inputs, "files, each a document; - for standard input")->required();
  command->add_option("--document-separator", a->format.document_separator, "cuts files into documents after this text");
  command->add_option("--document-pattern", a->format.document_pattern,
                      "or where the first group of this regular expression, matched at line starts, changes");
  command->add_option("--eval-documents", a->format.eval_documents, "names or globs of the documents to evaluate on");
  command->add_option("--eval-fraction", a->format.eval_fraction, "or this share from the end")->check(CLI::Range(0.0, 0.9));
  command->footer(
      "\nWith an evaluation part, FILE.h5 becomes FILE.train.h5 and FILE.eval.h5.\n"
      "Example:\n  trireme prepare text a.txt b.txt --eval-documents b.txt -o data/ab.h5");
  command->callback([&action, a] {
    action = [a] {
      for (const data::Prepared& made : data::prepare_text(a->format, with_progress(a->options))) report(made);
      return 0;
    };
  });
}

void add_idx(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand("idx", "Images and labels in MNIST's format, plain or gzip");
  auto a = common<data::IdxOptions>(*command);
  command->add_option("images", a->format.images, "images file")->required();
  command->add_option("labels", a->format.labels, "labels file")->required();
  command->footer("\nExample:\n  trireme prepare idx train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz -o data/train.h5");
  command->callback([&action, a] {
    action = [a] {
      report(data::prepare_idx(a->format, with_progress(a->options)));
      return 0;
    };
  });
}

void add_csv(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand("csv", "Numeric columns under a header line");
  auto a = common<data::CsvOptions>(*command);
  command->add_option("input", a->format.input, "CSV file")->required();
  command->add_option("--label", a->format.label, "column of whole numbers that becomes the label");
  command->add_option("--columns", a->format.columns, "the other columns to take; default: all")->delimiter(',');
  command->add_option("--field", a->format.field, "name of the matrix of columns");
  command->add_option("--delimiter", a->format.delimiter, "between cells");
  command->footer("\nExample:\n  trireme prepare csv iris.csv --label species -o data/iris.h5");
  command->callback([&action, a] {
    action = [a] {
      report(data::prepare_csv(a->format, with_progress(a->options)));
      return 0;
    };
  });
}

void add_npy(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand("npy", "NumPy arrays with the same first dimension");
  auto a = common<data::NpyOptions>(*command);
  auto pairs = std::make_shared<std::vector<std::string>>();
  command->add_option("fields", *pairs, "field=file.npy")->required();
  command->footer("\nExample:\n  trireme prepare npy image=x.npy label=y.npy -o data/set.h5");
  command->callback([&action, a, pairs] {
    action = [a, pairs] {
      for (const std::string& pair : *pairs) {
        const size_t equals = pair.find('=');
        if (equals == std::string::npos || equals == 0)
          throw Error(ErrorKind::usage, fmt::format("'{}' is not field=file.npy", pair), "e.g. image=x.npy label=y.npy");
        a->format.fields.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
      }
      report(data::prepare_npy(a->format, with_progress(a->options)));
      return 0;
    };
  });
}

void add_bin(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand("bin", "uint16 token files of nanoGPT (no header) and llm.c");
  auto a = common<data::BinOptions>(*command);
  command->add_option("inputs", a->format.inputs, "token files, one after the other")->required();
  command->add_option("--vocab-size", a->format.vocab_size, "default: of the header, else the largest token + 1");
  command->footer("\nExample:\n  trireme prepare bin shard_*.bin --vocab-size 50257 -o data/tokens.h5");
  command->callback([&action, a] {
    action = [a] {
      report(data::prepare_bin(a->format, with_progress(a->options)));
      return 0;
    };
  });
}

}  // namespace

void add_prepare(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("prepare", "Makes HDF5 data files with checksums");
  command->require_subcommand(1);
  command->footer("\nEach format has its own --help with an example. The same input gives the same bytes.");
  add_text(*command, action);
  add_idx(*command, action);
  add_csv(*command, action);
  add_npy(*command, action);
  add_bin(*command, action);
}

}  // namespace trireme::app
