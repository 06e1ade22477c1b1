#include "run_records_columns.h"

#include <cmath>
#include <limits>
#include <utility>

namespace trireme::report {
namespace {

constexpr double absent = std::numeric_limits<double>::quiet_NaN();

/// Of most spreads the page draws the mean, of memory the largest.
bool is_drawn(std::string_view name) {
  const bool largest = name.ends_with("/max") || name.ends_with("/max_rank");
  return largest == name.starts_with("memory/");
}

}  // namespace

/// What the parser finds in a line, in its order. A path such as phases/data/mean is held in one
/// string that grows and shrinks with the nesting.
class Columns::Line : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Line(Columns& columns) : columns_(columns) {}

  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t value) override {
    return number(static_cast<double>(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return number(static_cast<double>(value));
  }
  bool number_float(number_float_t value, const string_t& /*text*/) override {
    return number(value);
  }
  bool string(string_t& value) override {
    if (lists_ == 0 && key_ == "max_host") put_host(value);
    return true;
  }
  bool binary(binary_t& /*value*/) override { return true; }
  bool start_object(size_t /*elements*/) override {
    ends_.push_back(path_.size());
    if (!key_.empty()) path_ += key_ + "/";
    return true;
  }
  bool end_object() override {
    path_.resize(ends_.back());
    ends_.pop_back();
    return true;
  }
  bool start_array(size_t /*elements*/) override {
    if (ends_.empty()) return false;  // the line is a list
    ++lists_;
    return true;
  }
  bool end_array() override {
    --lists_;
    return true;
  }
  bool key(string_t& name) override {
    std::swap(key_, name);
    return true;
  }
  bool parse_error(size_t /*at*/, const std::string& /*token*/,
                   const nlohmann::json::exception& /*error*/) override {
    return false;
  }

 private:
  bool number(double value) {
    if (ends_.empty()) return false;  // the line is a number
    if (lists_ > 0 || key_ == "min" || key_ == "p95" || key_ == "min_rank") return true;
    name_ = path_;
    if (key_ == "mean")
      name_.pop_back();
    else
      name_ += key_;
    Column& column = put(value);
    if (key_ == "max" && (column.host.empty() || value > column.most)) {
      column.most = value;
      fullest_ = &column;
    }
    return true;
  }

  Column& put(double value) {
    auto [found, is_new] = columns_.columns_.try_emplace(name_);
    if (is_new) columns_.names_.push_back(name_);
    std::vector<double>& values = found->second.values;
    values.resize(columns_.lines_, absent);
    values.push_back(value);
    return found->second;
  }

  void put_host(const std::string& host) {
    if (fullest_ != nullptr) fullest_->host = host;
    fullest_ = nullptr;
  }

  Columns& columns_;
  std::string path_, key_, name_;
  std::vector<size_t> ends_;
  int lists_ = 0;
  Column* fullest_ = nullptr;  // of the spread that is being read, if it is the largest so far
};

bool Columns::add(std::string_view line) {
  Line reader(*this);
  const bool whole = !line.empty() && line.front() == '{' &&
                     nlohmann::json::sax_parse(line.begin(), line.end(), &reader);
  if (whole) ++lines_;
  for (auto& [name, column] : columns_) column.values.resize(lines_, absent);
  return whole;
}

const std::vector<double>& Columns::column(const std::string& name) const {
  static const std::vector<double> none;
  const auto found = columns_.find(name);
  return found == columns_.end() ? none : found->second.values;
}

std::string Columns::host_of_most(const std::string& spread) const {
  const auto found = columns_.find(spread + "/max");
  return found == columns_.end() ? "" : found->second.host;
}

Json Columns::json() const {
  Json all = Json::object();
  for (const std::string& name : names_) {
    if (!is_drawn(name)) continue;
    Json& shown = all[name] = Json::array();
    for (const double value : column(name)) {
      // Whole numbers (steps, bytes, ranks) stay exact and short.
      if (std::abs(value) < 9e15 && value == std::floor(value))
        shown.push_back(static_cast<int64_t>(value));
      else if (std::isfinite(value))
        shown.push_back(rounded(value));
      else
        shown.push_back(nullptr);
    }
  }
  return all;
}

double rounded(double value, int digits) {
  if (value == 0 || !std::isfinite(value)) return value;
  const double scale =
      std::pow(10.0, digits - 1 - static_cast<int>(std::floor(std::log10(std::abs(value)))));
  return std::isfinite(scale) && scale > 0 ? std::round(value * scale) / scale : value;
}

void round_numbers(Json& json, int digits) {
  if (json.is_number_float()) {
    const double value = rounded(json.get<double>(), digits);
    if (std::abs(value) < 9e15 && value == std::floor(value))
      json = static_cast<int64_t>(value);
    else
      json = value;
  } else if (json.is_structured()) {
    for (Json& part : json) round_numbers(part, digits);
  }
}

}  // namespace trireme::report
