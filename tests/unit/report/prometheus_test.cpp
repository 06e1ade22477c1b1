#include <trireme/report/prometheus.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <unistd.h>

namespace trireme::report {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

namespace fs = std::filesystem;

using Labels = std::map<std::string, std::string>;

/// A strict reader of the text format: everything that it does not expect is a failure.
class Reader {
 public:
  explicit Reader(const std::string& text) {
    EXPECT_TRUE(text.ends_with('\n'));
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) read(line);
  }
  [[nodiscard]] double value(const std::string& name, const Labels& labels) const {
    const auto found = samples_.find({name, labels});
    if (found == samples_.end()) {
      ADD_FAILURE() << "no sample " << name;
      return std::numeric_limits<double>::quiet_NaN();
    }
    return found->second;
  }
  /// The labels of the sample of `name` that has these among its own.
  [[nodiscard]] Labels labels(const std::string& name, const Labels& some) const {
    for (const auto& [key, value] : samples_) {
      const bool all =
          std::all_of(some.begin(), some.end(), [&labels = key.second](const auto& one) {
            const auto found = labels.find(one.first);
            return found != labels.end() && found->second == one.second;
          });
      if (key.first == name && all) return key.second;
    }
    return {};
  }
  [[nodiscard]] const std::map<std::string, std::string>& types() const { return types_; }

 private:
  static bool is_name(const std::string& name) {
    return !name.empty() &&
           name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos &&
           !std::isdigit(static_cast<unsigned char>(name[0]));
  }
  void read(const std::string& line) {
    if (line.starts_with("# HELP ")) {
      const size_t end = line.find(' ', 7);
      const std::string name = line.substr(7, end - 7);
      EXPECT_TRUE(is_name(name)) << line;
      EXPECT_GT(line.size(), end + 1) << "no text: " << line;
      EXPECT_TRUE(helped_.insert(name).second) << "twice: " << line;
      current_ = name;
    } else if (line.starts_with("# TYPE ")) {
      const size_t end = line.find(' ', 7);
      EXPECT_EQ(line.substr(7, end - 7), current_);
      const std::string type = line.substr(end + 1);
      EXPECT_TRUE(type == "gauge" || type == "counter") << line;
      EXPECT_EQ(type == "counter", current_.ends_with("_total")) << line;
      types_[current_] = type;
    } else {
      read_sample(line);
    }
  }
  void read_sample(const std::string& line) {
    size_t at = line.find('{');
    ASSERT_NE(at, std::string::npos) << line;
    const std::string name = line.substr(0, at++);
    EXPECT_EQ(name, current_) << "samples of a metric lie together, after its TYPE";
    Labels labels;
    while (line.at(at) != '}') {
      const size_t equals = line.find("=\"", at);
      ASSERT_NE(equals, std::string::npos) << line;
      const std::string label = line.substr(at, equals - at);
      EXPECT_TRUE(is_name(label)) << line;
      std::string value;
      for (at = equals + 2; line.at(at) != '"'; ++at) {
        if (line[at] == '\\') {
          ++at;
          ASSERT_NE(std::string("\\\"n").find(line.at(at)), std::string::npos) << line;
          value += line[at] == 'n' ? '\n' : line[at];
        } else {
          value += line[at];
        }
      }
      EXPECT_TRUE(labels.emplace(label, value).second) << "label twice: " << line;
      ++at;
      if (line.at(at) == ',') ++at;
    }
    ASSERT_EQ(line.at(at + 1), ' ') << line;
    const std::string number = line.substr(at + 2);
    size_t used = 0;
    const double value =
        number == "+Inf" ? std::numeric_limits<double>::infinity() : std::stod(number, &used);
    EXPECT_TRUE(number == "+Inf" || used == number.size()) << line;
    EXPECT_TRUE(samples_.emplace(std::pair(name, labels), value).second) << "twice: " << line;
  }

  std::string current_;
  std::set<std::string> helped_;
  std::map<std::string, std::string> types_;
  std::map<std::pair<std::string, Labels>, double> samples_;
};

PrometheusSample sample() {
  RankRow fast{}, slow{};
  fast[index_of(telemetry::Phase::forward)] = 0.25;
  slow[index_of(telemetry::Phase::forward)] = 0.75;
  fast[index_of(Item::step_seconds)] = 1;
  slow[index_of(Item::step_seconds)] = 1.5;
  fast[index_of(Item::allocated)] = 1 << 20;
  slow[index_of(Item::allocated)] = 1 << 21;
  for (RankRow* row : {&fast, &slow})
    for (const Item item : {Item::utilisation, Item::celsius, Item::parameters})
      (*row)[index_of(item)] = std::numeric_limits<double>::quiet_NaN();
  PrometheusSample result;
  result.job = "77";
  result.run = "runs/gpt";
  result.hosts = {"n1", "n2"};
  result.total_steps = 200;
  result.metrics = {.step = 120,
                    .loss = 2.5,
                    .lr = 3e-4,
                    .grad_norm = 1.25,
                    .samples = 960,
                    .tokens = 12345678901,
                    .skipped = 2};
  result.window = window_of({fast, slow});
  result.time = 1.75e9;
  return result;
}

TEST(PrometheusText, HasTheMetricsOfAStep) {
  const Reader reader(prometheus_text(sample()));
  const Labels common{{"job", "77"}, {"run", "runs/gpt"}};
  EXPECT_EQ(reader.value("trireme_step", common), 120);
  EXPECT_EQ(reader.value("trireme_steps_planned", common), 200);
  EXPECT_EQ(reader.value("trireme_loss", common), 2.5);
  EXPECT_EQ(reader.value("trireme_learning_rate", common), 3e-4);
  EXPECT_EQ(reader.value("trireme_gradient_norm", common), 1.25);
  EXPECT_EQ(reader.value("trireme_samples_total", common), 960);
  EXPECT_EQ(reader.value("trireme_tokens_total", common), 12345678901);
  EXPECT_EQ(reader.value("trireme_skipped_steps_total", common), 2);
  EXPECT_EQ(reader.value("trireme_last_update_timestamp_seconds", common), 1.75e9);
  EXPECT_EQ(reader.types().at("trireme_samples_total"), "counter");
}

TEST(PrometheusText, ExtremesNameRankAndHost) {
  const Reader reader(prometheus_text(sample()));
  const auto with = [](Labels labels) {
    labels.insert({{"job", "77"}, {"run", "runs/gpt"}});
    return labels;
  };
  EXPECT_EQ(
      reader.value("trireme_step_seconds", with({{"stat", "max"}, {"rank", "1"}, {"host", "n2"}})),
      1.5);
  EXPECT_EQ(
      reader.value("trireme_step_seconds", with({{"stat", "min"}, {"rank", "0"}, {"host", "n1"}})),
      1);
  EXPECT_EQ(reader.value("trireme_step_seconds", with({{"stat", "mean"}})), 1.25);
  EXPECT_EQ(
      reader.value("trireme_phase_seconds",
                   with({{"phase", "forward"}, {"stat", "max"}, {"rank", "1"}, {"host", "n2"}})),
      0.75);
  EXPECT_EQ(
      reader.value("trireme_memory_bytes",
                   with({{"kind", "allocated"}, {"stat", "max"}, {"rank", "1"}, {"host", "n2"}})),
      1 << 21);
  EXPECT_EQ(reader.value("trireme_slowest_rank", with({{"host", "n2"}})), 1);
  EXPECT_EQ(
      reader.value("trireme_slowest_rank_excess_ratio", with({{"rank", "1"}, {"host", "n2"}})),
      0.5);
}

TEST(PrometheusText, WhatNoRankKnowsIsAbsent) {
  const std::string text = prometheus_text(sample());
  EXPECT_THAT(text, Not(HasSubstr("temperature")));
  EXPECT_THAT(text, Not(HasSubstr("kind=\"parameters\"")));
  EXPECT_THAT(text, HasSubstr("kind=\"gradients\""));
}

TEST(PrometheusText, LabelValuesAreEscaped) {
  PrometheusSample odd = sample();
  odd.run = "a \"b\" \\ c\nd {e}, f=\"";
  odd.evaluation = EvalMetrics{.step = 100, .loss = 3, .metrics = {{"top 5\n", 0.5}}, .samples = 1};
  const Reader reader(prometheus_text(odd));
  EXPECT_EQ(reader.value("trireme_step", {{"job", "77"}, {"run", odd.run}}), 120);
  EXPECT_EQ(
      reader.value("trireme_evaluation", {{"job", "77"}, {"run", odd.run}, {"metric", "top 5\n"}}),
      0.5);
  EXPECT_EQ(
      reader.value("trireme_evaluation", {{"job", "77"}, {"run", odd.run}, {"metric", "loss"}}), 3);
}

TEST(PrometheusText, NumbersThatAreNotFiniteHaveNames) {
  PrometheusSample bad = sample();
  bad.metrics.loss = std::numeric_limits<double>::quiet_NaN();
  bad.metrics.grad_norm = std::numeric_limits<double>::infinity();
  const std::string text = prometheus_text(bad);
  const Reader reader(text);
  EXPECT_THAT(text, HasSubstr("trireme_loss{job=\"77\",run=\"runs/gpt\"} NaN\n"));
  EXPECT_THAT(text, HasSubstr("trireme_gradient_norm{job=\"77\",run=\"runs/gpt\"} +Inf\n"));
}

TEST(PrometheusText, OneRankHasNoSlowest) {
  PrometheusSample alone = sample();
  alone.window = window_of({alone.window.rows[0]});
  const std::string text = prometheus_text(alone);
  const Reader reader(text);
  EXPECT_THAT(text, Not(HasSubstr("slowest")));
}

class PrometheusFolder : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  [[nodiscard]] std::string text() const {
    std::ifstream in(file_);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  fs::path folder_ = fs::path(testing::TempDir()) / ("prometheus_" + std::to_string(getpid()));
  fs::path file_ = folder_ / "trireme.prom";
};

TEST_F(PrometheusFolder, TheFileIsReplacedNowAndThenAndAtTheEnd) {
  const PrometheusSample one = sample();
  {
    PrometheusFile file(file_, {.job = "77", .run = "r"}, one.hosts, 200, std::chrono::hours(1));
    file.log({.step = 1}, one.window);
    EXPECT_THAT(text(), HasSubstr("trireme_step{job=\"77\",run=\"r\"} 1\n"));
    file.log({.step = 2}, one.window);
    EXPECT_THAT(text(), HasSubstr("trireme_step{job=\"77\",run=\"r\"} 1\n"));
    file.log({.step = 2, .loss = 4, .metrics = {}, .samples = 1});
  }
  const Reader reader(text());
  EXPECT_EQ(reader.value("trireme_step", {{"job", "77"}, {"run", "r"}}), 2);
  EXPECT_EQ(reader.value("trireme_evaluation_step", {{"job", "77"}, {"run", "r"}}), 2);
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(folder_)) left.push_back(entry.path());
  EXPECT_THAT(left, SizeIs(1)) << "nothing temporary stays";
}

TEST_F(PrometheusFolder, AFolderThatDoesNotExistIsNoEnd) {
  PrometheusFile file(folder_ / "absent" / "x.prom", {}, {}, 0, std::chrono::milliseconds(0));
  EXPECT_NO_THROW(file.log({.step = 1}, sample().window));
  fs::create_directories(folder_ / "absent");
  file.log({.step = 2}, sample().window);
  EXPECT_TRUE(fs::exists(folder_ / "absent" / "x.prom"));
}

}  // namespace
}  // namespace trireme::report
