#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Makes data files: HDF5 with checksums, the same input giving the same bytes. A file is written
// under a temporary name, made durable and renamed; an error leaves nothing behind. Errors:
// input_missing, data_damaged (malformed input: file and line or byte), configuration (options that
// do not fit), storage (an output that exists or cannot be written).
namespace trireme::data {

struct PrepareOptions {
  std::string output;
  bool force = false;    ///< replace existing files
  int64_t compress = 0;  ///< 0: contiguous, read by memory map; 1 to 9: chunks with deflate
  /// Called now and then with the bytes of input that are done and their total (0 if unknown).
  std::function<void(int64_t done, int64_t total)> progress;
};

/// A file that was made.
struct Prepared {
  std::string path;
  int64_t samples = 0;  ///< of tensor files
  int64_t tokens = 0;   ///< of token files
  int64_t documents = 0;
  int64_t bytes = 0;  ///< of the file
};

/// How text becomes tokens; without one, each byte is a token (vocabulary of 256).
struct Tokenizer {
  std::string name;
  int64_t vocabulary = 0;
  std::function<void(std::string_view document, std::vector<uint32_t>& tokens)> encode;
};

struct TextOptions {
  std::vector<std::string>
      inputs;  ///< files, `-` for standard input; each is a document named by its path
  /// Cuts inputs into documents: after each occurrence of this text,
  std::string document_separator;
  /// or before each line whose start matches this regular expression (ECMAScript) where its first
  /// group, the document's name, changes. For the King James text by book:
  /// ^([1-3]?[A-Za-z]+)[0-9]+:[0-9]+
  std::string document_pattern;
  std::vector<std::string> eval_documents;  ///< names or globs of the documents to evaluate on
  double eval_fraction = 0;  ///< or this share from the end; whole documents if they are cut
  std::optional<Tokenizer> tokenizer;
};
/// With an evaluation part FILE.h5 gives FILE.train.h5 and FILE.eval.h5, otherwise FILE.h5. Holds
/// the text in memory.
[[nodiscard]] std::vector<Prepared> prepare_text(const TextOptions& text,
                                                 const PrepareOptions& options);
[[nodiscard]] std::string train_path(const std::string& output);
[[nodiscard]] std::string eval_path(const std::string& output);

/// Fashion-MNIST's and MNIST's format, plain or gzip: `image` uint8 [N, C, H, W] and `label` uint8
/// [N].
struct IdxOptions {
  std::string images;
  std::string labels;
};
[[nodiscard]] Prepared prepare_idx(const IdxOptions& idx, const PrepareOptions& options);

/// Numeric columns under a header line, separated by `delimiter`; cells may be quoted.
struct CsvOptions {
  std::string input;
  std::string label;  ///< the column of whole numbers that becomes `label` (int64 [N]); empty: none
  std::vector<std::string> columns;  ///< the others, in this order; empty: all but the label
  std::string field =
      "features";  ///< one float32 [N, F]; empty: one field [N] a column, named as the column
  char delimiter = ',';
};
[[nodiscard]] Prepared prepare_csv(const CsvOptions& csv, const PrepareOptions& options);

/// NumPy arrays, {field, file.npy}: C order, little-endian, the same first dimension.
struct NpyOptions {
  std::vector<std::pair<std::string, std::string>> fields;
};
[[nodiscard]] Prepared prepare_npy(const NpyOptions& npy, const PrepareOptions& options);

/// Token streams one after the other: uint16 without a header (nanoGPT), or with the header of
/// llm.c.
struct BinOptions {
  std::vector<std::string> inputs;
  std::optional<int64_t>
      vocab_size;  ///< nothing: that of llm.c's header, else the largest token + 1
};
[[nodiscard]] Prepared prepare_bin(const BinOptions& bin, const PrepareOptions& options);

}  // namespace trireme::data
