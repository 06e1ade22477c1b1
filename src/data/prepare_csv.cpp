#include <trireme/core/error.h>
#include <trireme/data/prepare.h>

#include "data/csv_row.h"
#include "data/input_file.h"
#include "data/output_file.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

namespace trireme::data {
namespace {

/// The columns that become the label (-1: none) and the features, by their place in the header.
struct Choice {
  int64_t label = -1;
  std::vector<size_t> features;
};

class Table {
 public:
  Table(const CsvOptions& csv, std::string text) : csv_(csv), text_(std::move(text)), rest_(text_) {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);
    if (!next_row()) damaged("the file is empty");
    header_ = cells_;
  }
  [[nodiscard]] const std::vector<std::string>& header() const { return header_; }
  [[nodiscard]] const std::vector<std::string>& cells() const { return cells_; }
  [[nodiscard]] int64_t done() const { return static_cast<int64_t>(text_.size() - rest_.size()); }
  [[nodiscard]] int64_t total() const { return static_cast<int64_t>(text_.size()); }

  /// Goes to the next line that is not blank.
  bool next_row() {
    std::string_view line;
    do {
      if (rest_.empty()) return false;
      line = rest_.substr(0, rest_.find('\n'));
      rest_.remove_prefix(std::min(rest_.size(), line.size() + 1));
      if (line.ends_with('\r')) line.remove_suffix(1);
      ++line_number_;
    } while (line.find_first_not_of(" \t") == std::string_view::npos);
    if (!split_csv_row(line, csv_.delimiter, cells_))
      damaged("a quoted cell does not end properly");
    if (!header_.empty() && cells_.size() != header_.size())
      damaged(fmt::format("{} cells under a header of {}", cells_.size(), header_.size()));
    return true;
  }

  [[nodiscard]] double number(size_t column) const {
    double value = 0;
    if (!parse_number(cells_[column], value))
      damaged(
          fmt::format("column `{}`: `{}` is not a finite number", header_[column], cells_[column]));
    return value;
  }

  [[noreturn]] void damaged(const std::string& what) const {
    throw Error(ErrorKind::data_damaged, fmt::format("{}:{}: {}", csv_.input, line_number_, what),
                "the file must have a header line and one number in every cell that is used");
  }

 private:
  const CsvOptions& csv_;
  std::string text_;
  std::string_view rest_;
  int64_t line_number_ = 0;
  std::vector<std::string> header_;
  std::vector<std::string> cells_;
};

size_t find_column(const CsvOptions& csv, const std::vector<std::string>& header,
                   const std::string& name) {
  const auto found = std::ranges::find(header, name);
  if (found == header.end())
    throw Error(ErrorKind::configuration,
                fmt::format("{}: there is no column `{}`", csv.input, name),
                fmt::format("the columns are: {}", fmt::join(header, ", ")));
  return static_cast<size_t>(found - header.begin());
}

Choice choose(const CsvOptions& csv, const Table& table) {
  const auto& header = table.header();
  if (std::set<std::string>(header.begin(), header.end()).size() != header.size())
    table.damaged("two columns have the same name");
  Choice choice;
  if (!csv.label.empty()) choice.label = static_cast<int64_t>(find_column(csv, header, csv.label));
  for (const std::string& name : csv.columns)
    choice.features.push_back(find_column(csv, header, name));
  if (csv.columns.empty())
    for (size_t i = 0; i < header.size(); ++i)
      if (static_cast<int64_t>(i) != choice.label) choice.features.push_back(i);
  if (choice.features.empty())
    throw Error(ErrorKind::configuration,
                fmt::format("{}: no column is left beside the label", csv.input),
                "name the columns to use");
  return choice;
}

}  // namespace

Prepared prepare_csv(const CsvOptions& csv, const PrepareOptions& options) {
  check_options(options);
  Table table(csv, read_whole_file(csv.input));
  const Choice choice = choose(csv, table);
  std::vector<std::vector<float>> columns(choice.features.size());
  std::vector<int64_t> labels;
  while (table.next_row()) {
    for (size_t i = 0; i < columns.size(); ++i)
      columns[i].push_back(static_cast<float>(table.number(choice.features[i])));
    if (choice.label >= 0) {
      const double label = table.number(static_cast<size_t>(choice.label));
      if (label != std::floor(label) || std::abs(label) > 0x1p53)
        table.damaged(fmt::format("label {} is not a whole number", label));
      labels.push_back(static_cast<int64_t>(label));
    }
    if (options.progress && columns[0].size() % 4096 == 0)
      options.progress(table.done(), table.total());
  }
  const auto count = static_cast<int64_t>(columns[0].size());
  if (count == 0) table.damaged("there is no line below the header");

  OutputFile out(options.output, options.force);
  Hdf5Writer& writer = out.writer();
  const int compress = static_cast<int>(options.compress);
  std::vector<std::string> names;
  for (const size_t i : choice.features) names.push_back(table.header()[i]);
  if (csv.field.empty()) {
    for (size_t i = 0; i < columns.size(); ++i)
      writer.append(writer.create(names[i], Element::f32, {count}, compress), columns[i].data(),
                    count);
  } else {
    const auto width = static_cast<int64_t>(columns.size());
    const size_t field = writer.create(csv.field, Element::f32, {count, width}, compress);
    writer.attribute(field, {"columns", fmt::format("{}", fmt::join(names, ","))});
    std::vector<float> rows;
    for (size_t row = 0; row < static_cast<size_t>(count); ++row)
      for (const auto& column : columns) rows.push_back(column[row]);
    writer.append(field, rows.data(), count);
  }
  if (choice.label >= 0) {
    const size_t label = writer.create("label", Element::i64, {count}, compress);
    if (*std::ranges::min_element(labels) >= 0)
      writer.attribute(label, {"classes", int64_t{1} + *std::ranges::max_element(labels)});
    writer.append(label, labels.data(), count);
  }
  if (options.progress) options.progress(table.total(), table.total());
  return {options.output, count, 0, 0, out.commit()};
}

}  // namespace trireme::data
